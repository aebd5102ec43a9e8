--- Drives one primitive with the random doings of many tasks, in step with a model of it.
--
-- A model knows who has what and who waits, in the simplest way. Each call is made of it first, then of
-- the primitive: what the primitive returns or raises, and when, has to be what the model said. Since
-- everything is handed over at once, the model always knows.
--
-- An actor is a task and what is known of it: `waiting`, the call that it is in; `outcome`, what that call
-- must end with (nil: it has to wait on); `pending`, cancellations that were requested and not raised yet.
-- Requests come from anywhere: before each step of the model it looks for new ones (Run:sync), by the
-- count that each task keeps.
--
-- A model has: `name`; `new(run)`; `object`, the primitive; `ops`, by name {begin(m, actor, argument) → the
-- outcome, or run:join(…) to wait; real(m, actor, argument), the call itself}; `choose(random, actor) → name`;
-- `interrupt(actor)`, a cancellation found it waiting; `check()`, counters are what they should be; `idle()`,
-- nobody waits for what is there. It may have: `argument(random, name)`, `final()`; `guard`, acquire gives a
-- guard, and then `closed(actor)` and `holds(actor)`; `resolve(actor)`.
local asyncio = require "asyncio"
local testing = require "asyncio.testing"
local new_random = require "model.random"
local outcome = require "model.outcome"

local TICK = 1 / 1024 -- seconds; exact, so that deadlines of different tasks meet
local MIN_OPERATIONS = 30
local BOOM = "boom"   -- the error of a task that fails

local Run = {}
Run.__index = Run

-- Failing, and the record

local function show(...)
  local parts = table.pack(...)
  for i = 1, parts.n do parts[i] = tostring(parts[i]) end
  return table.concat(parts, " ")
end

function Run:log(...)
  if self.trace then self.trace(("  %8.3f %s"):format(self.loop:time() * 1000, show(...))) end
end

--- The first failure is what the schedule failed with; the others follow from it.
function Run:fail(message)
  self.failure = self.failure or message
  error({ failure = self.failure }, 0)
end

function Run:expect(condition, message)
  if not condition then self:fail(message) end
end

function Run:equal(what, real, model)
  if real ~= model then self:fail(("%s is %s, and should be %s"):format(what, real, model)) end
end

-- What models call

--- The actor waits from now on, in `line` if it is one. A request that it owes is raised at once.
function Run:join(actor, line)
  if line then table.insert(line, actor) end
  actor.waiting, actor.outcome = actor.call, nil
  if actor.pending > 0 then self.model:interrupt(actor) end
  return actor.outcome
end

--- Takes it out of a line; whether it was there.
function Run.leave(_, actor, line)
  for i, other in ipairs(line) do
    if other == actor then return table.remove(line, i) end
  end
end

--- Its wait is over. They run in the order in which they are granted what they wait for.
function Run:grant(actor, result)
  actor.outcome = result
  if not result.interrupted then
    self.grants = self.grants + 1
    actor.granted = self.grants
  end
end

--- In the middle of a call that may wait again (Condition:wait_for): its wait is over.
function Run:came_back(actor)
  self:sync()
  if not actor.waiting then return end
  if not actor.outcome and self.model.resolve then self.model:resolve(actor) end
  if not actor.outcome then self:fail(actor.name .. " goes on, but should wait") end
  self:check_order(actor)
  actor.waiting = nil
end

--- And it waits again.
function Run:wait_again(actor, result)
  self:log(actor.name, "waits again")
  actor.outcome = result
end

-- Requests of cancellation

function Run:requested(actor)
  self.cancellations = self.cancellations + 1
  if actor.elsewhere then return end
  self:log(actor.name, "is to be cancelled")
  actor.pending = actor.pending + 1
  if actor.giving_way then
    actor.giving_way, actor.outcome = false, outcome.INTERRUPTED
  elseif actor.waiting and not actor.outcome then
    self.model:interrupt(actor)
  end
end

function Run:sync()
  self.syncs = self.syncs + 1
  for _, actor in ipairs(self.actors) do
    local n = actor.ended and actor.seen or actor.task:cancelling() -- less: a scope took its own back
    for _ = actor.seen + 1, n do self:requested(actor) end
    actor.seen = n
  end
end

local function is_interruption(err)
  return asyncio.isinstance(err, asyncio.CancelledError) or asyncio.isinstance(err, asyncio.TimeoutError)
end

-- A call

function Run:check_order(actor)
  if not actor.granted then return end
  self:expect(actor.granted > self.last_granted, actor.name .. " runs after one that was served later")
  self.last_granted, actor.granted = actor.granted, nil
end

--- Compares what came with what should have come.
function Run:finish(actor, ok, ...)
  local err = ...
  if not ok and type(err) == "table" and err.failure then error(err, 0) end
  if actor.waiting and not actor.outcome and self.model.resolve then self.model:resolve(actor) end
  local expected, what = actor.outcome, actor.name .. ": " .. actor.call
  actor.waiting, actor.outcome = nil, nil
  self:log(what, "→", ok, ...)
  if not expected then self:fail(what .. " ended, but should wait") end
  if expected.interrupted then
    if ok or not asyncio.isinstance(err, asyncio.CancelledError) then
      self:fail(what .. " should have been cancelled, but gave " .. show(...))
    end
    actor.pending = actor.pending - 1
  elseif expected.class then
    if ok or not asyncio.isinstance(err, expected.class) then
      self:fail(("%s should raise %s, but gave %s"):format(what, expected.class, show(...)))
    end
  else
    if not ok then self:fail(what .. " raised " .. show(err)) end
    self:equal(what .. ": number of results", select("#", ...), expected.n)
    for i = 1, expected.n do self:equal(what .. ": a result", (select(i, ...)), expected[i]) end
  end
  self:check_order(actor)
  self.model:check()
  if expected.interrupted then error(err, 0) end
  return expected.class == nil
end

--- Uses up the task's budget: its next call gives way first.
function Run:spend(actor)
  self:pause(actor, 0)
  for _ = 1, self.budget do self.spender:wait() end
end

--- A call whose task gives way first begins at its next turn, just after a callback of ours; and a
--- cancellation takes it before it has begun.
function Run:begin_later(actor, op, argument)
  self:log(actor.name, actor.call, "gives way first")
  if actor.pending > 0 then return outcome.INTERRUPTED end
  actor.waiting, actor.giving_way = actor.call, true
  self.loop:call_soon(function()
    if self.failure then return end
    self:sync()
    if not actor.giving_way then return end
    actor.giving_way, actor.waiting = false, nil
    actor.outcome = op.begin(self.model, actor, argument)
  end)
end

--- Makes a call of the model and of the primitive; whether it did what it is for. Raises cancellations.
function Run:call(actor, name, argument, spent)
  local op = self.model.ops[name]
  if self.failure then error({ failure = self.failure }, 0) end
  if spent and op.budgeted then self:spend(actor) end
  self:sync()
  self.operations = self.operations + 1
  actor.call = name
  self:log(actor.name, name, argument == nil and "" or argument)
  if spent and op.budgeted then
    actor.outcome = self:begin_later(actor, op, argument)
  else
    actor.outcome = op.begin(self.model, actor, argument)
  end
  local results = table.pack(pcall(op.real, self.model, actor, argument))
  self:sync()
  return self:finish(actor, table.unpack(results, 1, results.n))
end

-- What actors do between calls

--- Sleeps. An owed cancellation must be raised.
function Run:pause(actor, seconds)
  self:sync()
  local owed = actor.pending > 0
  local ok, err = pcall(asyncio.sleep, seconds)
  self:sync()
  if ok then
    self:expect(not owed, actor.name .. ": a cancellation was swallowed")
    return
  end
  self:expect(actor.pending > 0, actor.name .. ": a cancellation that nobody asked for")
  actor.pending = actor.pending - 1
  error(err, 0)
end

--- Runs fn under a deadline, of one kind or another. One whose request came too late takes it back.
function Run:limited(actor, limit, fn)
  if not limit then return fn() end
  local kind = actor.random:int(1, 3)
  local ok, err
  if kind == 1 then
    ok, err = pcall(asyncio.wait_for, fn, limit)
  elseif kind == 2 then
    ok, err = pcall(function()
      local _ <close> = asyncio.timeout(limit)
      fn()
    end)
  else
    local done
    ok, done = pcall(asyncio.move_on_after, limit, fn)
    err = done
    if ok and not done then ok, err = false, asyncio.TimeoutError "moved on" end
  end
  local taken_back = actor.seen - actor.task:cancelling()
  local expired = not ok and asyncio.isinstance(err, asyncio.TimeoutError)
  if taken_back > 0 and not expired then actor.pending = actor.pending - 1 end
  actor.seen = actor.seen - taken_back
  self:expect(taken_back == 0 or taken_back == 1, actor.name .. ": a deadline took back what isn't its own")
  self:expect(taken_back == 1 or not expired, actor.name .. ": TimeoutError without a deadline")
  if not ok then error(err, 0) end
end

local function on_leaving(fn) return setmetatable({}, { __close = fn }) end

--- acquire, some time, and the end of the block: in good order or by an error.
function Run:with(actor, spent)
  local model, closing = self.model, nil
  if not self:call(actor, "acquire", nil, spent) then return end
  local interruption
  local ok, err = pcall(function()
    local _ <close> = model.object
    local _ <close> = on_leaving(function()
      self:sync()
      closing = model:closed(actor)
      self:log(actor.name, "leaves the block")
    end)
    interruption = self:caught(pcall(self.pause, self, actor, TICK * actor.random:int(0, 2)))
    if interruption then error(interruption, 0) end
    if actor.random:chance(20) then error(BOOM, 0) end
  end)
  if closing and closing.class then -- its error takes the place of any other
    self:expect(asyncio.isinstance(err, closing.class), actor.name .. ": one released too often")
  else
    self:caught(ok, err)
  end
  self.model:check()
  if interruption then error(interruption, 0) end
end

--- Cancels an actor, itself perhaps.
function Run:cancel(actor)
  local target = actor.random:one_of(self.actors)
  self:log(actor.name, "cancels", target.name)
  self.operations = self.operations + 1
  local live = not target.task:done()
  self:equal("cancel()", target.task:cancel(), live)
  self:sync()
end

--- Lets a cancellation, or the end of a deadline, pass by; anything else that is raised is a failure.
function Run:caught(ok, err)
  if ok or err == BOOM or is_interruption(err) then return not ok and err or nil end
  if type(err) == "table" and err.failure then error(err, 0) end
  self:fail("an error that shouldn't be: " .. show(err))
end

--- One step: some call, under a deadline or without; the interruption that it ended with.
function Run:step(actor)
  local random, model = actor.random, self.model
  local name = model.choose(model, random, actor)
  local limit = random:chance(30) and TICK * random:int(0, 3) or nil
  local spent = random:chance(8)
  return self:caught(pcall(self.limited, self, actor, limit, function()
    if name == "with" then return self:with(actor, spent) end
    self:call(actor, name, model.argument and model:argument(random, name), spent)
  end))
end

function Run:release_all(actor)
  if self.failure then return end
  while self.model.guard and self.model:holds(actor) do self:call(actor, "release") end
  self:sync()
end

-- Groups

--- A task of a group: some steps; then it ends, fails, or starts another while the group may be closing.
function Run:child(actor, group)
  local random = actor.random
  for _ = 1, random:int(1, 3) do
    local interruption = self:step(actor)
    if random:chance(interruption and 30 or 5) then
      pcall(self.spawn, self, group, #group + 1, random:fork())
    end
    if interruption and random:chance(80) then error(interruption, 0) end
  end
  if random:chance(25) then
    group.boom = true
    error(BOOM, 0)
  end
end

function Run:spawn(group, name, random)
  local actor = self:new_actor(group.name .. name, random)
  actor.group = group
  actor.task = group.tasks:create_task(function() self:live(actor, self.child, group) end)
  table.insert(self.actors, actor)
  table.insert(group, actor)
end

--- Some tasks in a group, and a step meanwhile. What is raised while the group closes is not the model's.
function Run:group(actor)
  local random = actor.random
  local group = { name = actor.name .. "." }
  self:log(actor.name, "opens a group")
  local ok, err = pcall(function()
    local tasks <close> = asyncio.TaskGroup()
    group.tasks = tasks
    for i = 1, random:int(1, 3) do self:spawn(group, i, random:fork()) end
    local _ <close> = on_leaving(function()
      self:release_all(actor) -- the group's tasks may want it before they can end
      actor.elsewhere, actor.left_at = true, actor.seen
    end)
    local interruption = self:step(actor)
    if interruption then
      group.raised = asyncio.isinstance(interruption, asyncio.CancelledError)
      error(interruption, 0)
    end
  end)
  self:log(actor.name, "has left the group:", ok, err)
  self:check_group(actor, group, err)
end

--- A group has been left. Its tasks have ended; no error, and no cancellation of its own task, was lost: what
-- was asked for and not raised before the block was left is raised by it, or owed.
function Run:check_group(actor, group, err)
  local owed = actor.pending + (group.raised and 1 or 0)
  local raised = asyncio.isinstance(err, asyncio.CancelledError) and 1 or 0
  while not pcall(asyncio.sleep, 0) do raised = raised + 1 end
  if self.failure then error({ failure = self.failure }, 0) end
  local n = actor.task:cancelling()
  owed = owed + n - actor.left_at -- less one when the group asked, too: it knows its own request
  actor.elsewhere, actor.pending, actor.seen = false, 0, n
  for _, child in ipairs(group) do
    self:expect(child.task:done(), actor.name .. ": the group has ended, but not " .. child.name)
  end
  if group.boom then
    self:expect(asyncio.isinstance(err, asyncio.ExceptionGroup), actor.name .. ": an error was lost")
  end
  self:equal(actor.name .. ": cancellations raised by a group or after it", raised, owed)
end

-- Actors

function Run:new_actor(name, random)
  return { name = name, random = random, pending = 0, seen = 0, held = 0, ended = false }
end

--- What every actor's task does: fn, and at its end it releases what it holds.
function Run:live(actor, fn, ...)
  local results = table.pack(pcall(fn, self, actor, ...))
  self:release_all(actor)
  actor.ended = true
  self:log(actor.name, "ends")
  if not results[1] then error(results[2], 0) end
end

function Run:act(actor)
  local random = actor.random
  self:pause(actor, 0)
  local steps = random:int(9, 12)
  while steps > 0 or self.operations < MIN_OPERATIONS do
    steps = steps - 1
    if random:chance(70) then
      local ticks = random:chance(60) and 0 or random:int(1, 3)
      self:caught(pcall(self.pause, self, actor, ticks * TICK))
    end
    if random:chance(12) then
      self:cancel(actor)
    elseif random:chance(4) then
      self:group(actor)
    else
      self:step(actor)
    end
  end
end

-- A schedule

--- All tasks are blocked: each has to be, and nobody waits for what is there.
function Run:check_idle()
  self:sync()
  for _, actor in ipairs(self.actors) do
    if not actor.ended and actor.waiting and actor.outcome then
      self:fail(actor.name .. " has got what it waits for, and was never woken: " .. actor.waiting)
    end
    local blocked = actor.ended or actor.waiting or actor.elsewhere or actor.task:done()
    self:expect(blocked, actor.name .. " is blocked, though nothing blocks it")
    if actor.group and actor.group.boom and not actor.task:done() then
      self:expect(actor.task:cancelling() > 0, actor.name .. " goes on in a group that has failed")
    end
  end
  self.model:idle()
end

--- How many calls a step has (ASY_BUDGET).
function Run:measure_budget()
  local turned, n = false, 0
  self.spender = asyncio.Event()
  self.spender:set()
  asyncio.sleep(0)
  self.loop:call_soon(function() turned = true end)
  repeat
    self.spender:wait()
    n = n + 1
  until turned
  self.budget = n - 1
end

--- Lets the actors act. When all are blocked, those that wait are cancelled, and go on, until all have ended.
function Run:main()
  local model = self.model
  for i = 1, self.random:int(4, 7) do
    local actor = self:new_actor("task " .. i, self.random:fork())
    actor.task = asyncio.create_task(function() self:live(actor, self.act) end)
    table.insert(self.actors, actor)
  end
  self.tasks = #self.actors
  for _ = 1, self.random:int(1, 4) do asyncio.sleep(0) end
  self.actors[self.random:int(1, self.tasks)].task:cancel()
  for _ = 1, 100 do
    asyncio.sleep(60)
    if self.failure then return end
    self:check_idle()
    local all_ended = true
    for i = 1, #self.actors do
      local actor = self.actors[i]
      all_ended = all_ended and (actor.ended or actor.task:done())
      if actor.waiting then
        actor.task:cancel()
        self:sync()
      end
    end
    if all_ended then break end
  end
  for _, actor in ipairs(self.actors) do
    self:expect(actor.task:done(), actor.name .. " never ends")
  end
  if model.final then model:final() end
  model:check()
  self:equal("tasks left", #asyncio.all_tasks(), 1)
end

--- Runs one schedule: what failed, or nil; and what it did: tasks, operations, cancellations.
-- The same class and seed do the same everywhere. `trace` is called with what happens.
local function run(class, seed, trace)
  local self = setmetatable({
    random = new_random(seed), actors = {}, trace = trace, operations = 0, cancellations = 0, tasks = 0,
    grants = 0, last_granted = 0, syncs = 0,
  }, Run)
  local ok, err = pcall(testing.async(function()
    self.loop = asyncio.get_running_loop()
    local report = self.loop:get_exception_handler()
    self.loop:set_exception_handler(function(loop, context) -- actors catch what they get, and go on
      if not context.message:find "^a task group waits" then return report(loop, context) end
    end)
    self:measure_budget()
    self.model = class.new(self)
    self:main()
  end, { clock = "virtual", timeout = 60 }))
  if not ok and not self.failure then self.failure = tostring(err) end
  return self.failure, self
end

return run
