-- Everything that waits, nested in everything else, on the virtual clock: deadlines, failures and cancellations
-- at every moment, against a model of who must see what.
--
-- A case is a chain of constructs around one wait, and the moments at which the task is cancelled. It is told
-- as "timeout(2) gather closing get@4 cancel 2 3": a deadline after 2 s around a gather around a __close that
-- awaits around a get whose item comes after 4 s; cancelled after 2 s and after 3 s. To see it again:
--     CASE="timeout(2) gather closing get@4 cancel 2 3" lua5.4 spec/combination_spec.lua
-- SEEDS=n tries n random trees, and every pair with every leaf.
local t = require "helper"
local asyncio = t.asyncio
local await, create_task, sleep = asyncio.await, asyncio.create_task, asyncio.sleep

local FAILURE = asyncio.Error "failure"

-- What left a level: the class of the error, or the value.
local function label(ok, value)
  if ok then return value end
  if asyncio.isinstance(value, asyncio.CancelledError) then return "cancelled" end
  if asyncio.isinstance(value, asyncio.TimeoutError) then return "timeout" end
  if value == FAILURE then return "failure" end
  if not asyncio.isinstance(value, asyncio.ExceptionGroup) then return tostring(value) end
  local labels = {}
  for i, err in ipairs(value.errors) do labels[i] = label(false, err) end
  return "group(" .. table.concat(labels, " ") .. ")"
end

-- The constructs: each runs `inner` in some way.

local function spawn(fn)
  local task = create_task(fn)
  task:add_done_callback(function() pcall(task.result, task) end) -- its error is looked at in any case
  return task
end

local function scoped(open)
  return function(node, inner)
    node.scope = open(node.after)
    local _ <close> = node.scope
    return inner()
  end
end

local function grouped(node, inner)
  local group <close> = asyncio.TaskGroup()
  group:create_task(function()
    sleep(node.fails and node.after or 1)
    if node.fails and node.after then error(FAILURE, 0) end
  end)
  return inner()
end

local run = {
  timeout = scoped(asyncio.timeout),
  timeout_at = scoped(function(after)
    return asyncio.timeout_at(after and asyncio.get_running_loop():time() + after)
  end),
  wait_for = function(node, inner) return asyncio.wait_for(inner, node.after) end,
  wait_for_coroutine = function(node, inner) return asyncio.wait_for(coroutine.create(inner), node.after) end,
  wait_for_task = function(node, inner) return asyncio.wait_for(spawn(inner), node.after) end,
  move_on_after = function(node, inner)
    local ok, value = asyncio.move_on_after(node.after, inner)
    return ok and value or "moved on"
  end,
  shield = function(_, inner) return await(asyncio.shield(spawn(inner))) end,
  gather = function(_, inner) return (asyncio.gather(inner, function() sleep(1) end)) end,
  race = function(_, inner) return asyncio.race(inner) end,
  map = function(_, inner) return asyncio.map(inner, { "value" })[1] end,
  wait = function(_, inner)
    local task = spawn(inner)
    asyncio.wait { task }
    return await(task)
  end,
  as_completed = function(_, inner)
    for task in asyncio.as_completed { spawn(inner) } do return await(task) end
  end,
  group_of = function(_, inner)
    local task
    do
      local group <close> = asyncio.TaskGroup()
      task = group:create_task(inner)
    end
    return task:result()
  end,
  group_around = grouped,
  group_failing = function(node, inner)
    node.fails = true
    return grouped(node, inner)
  end,
  lock = function(node, inner)
    node.lock = asyncio.Lock()
    local _ <close> = node.lock:acquire()
    return inner()
  end,
  generator = function(_, inner) return asyncio.coroutine.wrap(function() return inner() end)() end,
  pcall = function(_, inner)
    local ok, value = pcall(inner)
    return ok and value or "caught"
  end,
  asyncio_pcall = function(_, inner)
    local ok, value = asyncio.pcall(inner)
    return ok and value or "caught"
  end,
  closing = function(_, inner)
    local _ <close> = setmetatable({}, { __close = function() sleep(1) end })
    return inner()
  end,
}

-- What is waited for in the innermost place: something that happens `after` so long.

local function later(node, fn) return create_task(function() sleep(node.after) fn() end) end

local leaves = {
  sleep = function(node) sleep(node.after) end,
  fail = function(node) sleep(node.after) error(FAILURE, 0) end,
  acquire = function(node)
    node.lock = asyncio.Lock()
    create_task(function()
      local _ <close> = node.lock:acquire()
      sleep(node.after)
    end)
    while not node.lock:locked() do sleep(0) end
    local _ <close> = node.lock:acquire()
  end,
  notified = function(node)
    node.lock = asyncio.Condition()
    local _ <close> = node.lock:acquire()
    later(node, function()
      local _ <close> = node.lock:acquire()
      node.lock:notify()
    end)
    node.lock:wait()
  end,
  get = function(node)
    node.queue = asyncio.Queue()
    later(node, function() node.queue:put_nowait "item" end)
    node.got = node.queue:get()
  end,
}

-- The model. `queue` has the requests of a task, those to come included, in the order of their `time`.
-- A node's meaning is when it ends and how: a value, or what it raises: a label, or a request.

local model = {}
local meaning
local jitter -- a little, for things in the same instant: they may come in either order ...
local inertia -- ... and what is about to happen in the same instant may happen all the same

-- Takes the first request, at a time. Those that are forwarded are one, until that has been taken.
local function take(queue, time)
  local request, first = queue[1], nil
  for i = #queue, 1, -1 do
    if queue[i].forwarded then first = i end
  end
  for i = #queue, (first or 0) + 1, -1 do
    if queue[i].forwarded and queue[i].time <= time + inertia(request) then table.remove(queue, i) end
  end
  return table.remove(queue, 1)
end

-- Waits until `ends`, unless a request comes before.
local function model_wait(queue, now, ends)
  local request = queue[1]
  if not request or request.time > math.max(now, ends) then return ends end
  take(queue, math.max(now, request.time))
  return math.max(now, request.time), request
end

local function insert(queue, request)
  local i = 1
  while queue[i] and queue[i].time <= request.time do i = i + 1 end
  table.insert(queue, i, request)
end

local function withdraw(queue, request)
  for i = #queue, 1, -1 do
    if queue[i] == request then table.remove(queue, i) end
  end
end

local function is_request(raised) return type(raised) == "table" end

-- In the task itself, with a request of the scope's own: was it what came out?
local function scope(node, now, queue)
  local own = { time = now + (node.after or math.huge) + jitter(node) }
  insert(queue, own)
  local ends, value, raised = meaning(node.inner, now, queue)
  withdraw(queue, own)
  node.expired = own.time <= ends
  return ends, value, raised, raised ~= nil and raised == own, own
end

function model.timeout(node, now, queue)
  local ends, value, raised, mine = scope(node, now, queue)
  return ends, value, mine and "timeout" or raised
end
model.timeout_at, model.wait_for, model.wait_for_coroutine = model.timeout, model.timeout, model.timeout

function model.move_on_after(node, now, queue)
  local ends, value, raised, mine = scope(node, now, queue)
  if mine then return ends, "moved on" end
  return ends, value, raised
end

-- In a task of its own that gets the requests, too.
local function child(node, now, queue)
  local its = {}
  for i, request in ipairs(queue) do its[i] = { time = request.time, forwarded = true } end
  if its[1] and its[1].time <= now + inertia(node) then -- before its first step
    node.inner.expected = "cancelled"
    return now, nil, its[1]
  end
  return meaning(node.inner, now, its)
end

local function came_before(queue, time) return queue[1] ~= nil and queue[1].time <= time end

local function awaited(node, now, queue)
  local ends, value, raised = child(node, now, queue)
  if is_request(raised) and came_before(queue, ends) then raised = take(queue, ends) end
  return ends, value, raised
end

function model.wait_for_task(node, now, queue)
  return model.timeout({ after = node.after, inner = { kind = "awaited", inner = node.inner } }, now, queue)
end
model.awaited = awaited

function model.gather(node, now, queue)
  local ends, value, raised = child(node, now, queue)
  local sibling = now + 1 + jitter(node)
  if not came_before(queue, raised and ends or math.max(ends, sibling)) then
    return raised and ends or math.max(ends, sibling), value, raised
  end
  local time = math.max(ends, math.min(sibling, queue[1].time))
  return time, nil, take(queue, time)
end

-- In a task that gets them; they are raised here once it has ended, whichever way.
function model.map(node, now, queue)
  local ends, value, raised = child(node, now, queue)
  if came_before(queue, ends) then return ends, nil, take(queue, ends) end
  return ends, value, raised
end

function model.race(node, now, queue)
  local ends, value, raised = model.map(node, now, queue)
  return ends, value, raised and not is_request(raised) and ("group(%s)"):format(raised) or raised
end

-- In a task that gets none.
function model.shield(node, now, queue)
  local ends, value, raised = meaning(node.inner, now, {})
  local time, request = model_wait(queue, now, ends)
  if request then return time, nil, request end
  return ends, value, raised
end
model.wait, model.as_completed = model.shield, model.shield

function model.group_of(node, now, queue)
  local ends, value, raised = child(node, now, queue)
  if raised and not is_request(raised) then return ends, nil, ("group(%s)"):format(raised) end
  if came_before(queue, ends) then return ends, nil, take(queue, ends) end
  return ends, value, raised
end

local function model_group(node, now, queue, fails)
  local ends, value, raised, mine, own = scope({ after = fails, inner = node.inner }, now, queue)
  local child_ends, errors = fails and own.time or now + 1 + jitter(node), {}
  if not raised and child_ends > ends then -- leaving the block waits
    ends, raised = model_wait(queue, ends, child_ends)
  end
  if fails and child_ends <= ends + inertia(own) then errors[1] = "failure" end
  if raised and not mine and not is_request(raised) then errors[#errors + 1] = raised end
  if #errors == 0 then return ends, value, raised end
  if is_request(raised) and not mine then table.insert(queue, 1, raised) end -- the group first, then that
  return ends, nil, ("group(%s)"):format(table.concat(errors, " "))
end

function model.group_around(node, now, queue) return model_group(node, now, queue) end
function model.group_failing(node, now, queue) return model_group(node, now, queue, node.after) end

function model.lock(node, now, queue) return meaning(node.inner, now, queue) end
model.generator = model.lock

function model.pcall(node, now, queue)
  local ends, value, raised = meaning(node.inner, now, queue)
  return ends, raised and "caught" or value
end

function model.asyncio_pcall(node, now, queue)
  local ends, value, raised = meaning(node.inner, now, queue)
  if is_request(raised) then return ends, nil, raised end
  return ends, raised and "caught" or value
end

function model.closing(node, now, queue)
  local ends, value, raised = meaning(node.inner, now, queue)
  local time, request = model_wait(queue, ends, ends + 1 + jitter(node))
  return time, value, request or raised
end

function meaning(node, now, queue)
  local ends, value, raised
  if node.inner then
    ends, value, raised = model[node.kind](node, now, queue)
  else
    ends, raised = model_wait(queue, now, node.after + jitter(node))
    if not raised and node.kind == "fail" then raised = "failure" end
    value = "value"
  end
  node.expected = raised and (is_request(raised) and "cancelled" or raised) or value
  return ends, value, raised
end

-- Two things in the same instant may come in either order: the model is asked for many.
local function predict(case, round)
  local drawn = {}
  function jitter(of)
    drawn[of] = drawn[of] or (round == 1 and 0 or (math.random() - 0.5) / 100)
    return drawn[of]
  end
  function inertia(of)
    drawn[of] = drawn[of] or (round == 1 and 0 or math.random(0, 1) / 50)
    return drawn[of]
  end
  local queue = {}
  for i, time in ipairs(case.cancels) do insert(queue, { time = time + jitter(i) }) end
  local ends = meaning(case.tree, 0, queue)
  local pending = 0
  for _, request in ipairs(queue) do pending = pending + (request.time <= ends and 1 or 0) end
  return pending
end

-- Running a case

-- Runs the node, and notes what left it and that its <close> ran once.
local function runner_of(node, notes)
  return function()
    notes.open = notes.open + 1
    local _ <close> = setmetatable({}, { __close = function()
      notes.open, node.closed = notes.open - 1, (node.closed or 0) + 1
    end })
    local ok, value = pcall(function()
      if node.inner then return run[node.kind](node, runner_of(node.inner, notes)) end
      leaves[node.kind](node)
      return "value"
    end)
    node.seen = label(ok, value)
    if ok then return value end
    error(value, 0)
  end
end

local function nodes_of(case)
  local list, node = {}, case.tree
  while node do
    list[#list + 1] = node
    node = node.inner
  end
  return list
end

local function differences(case, pending, loose)
  local list = {}
  local function check(what, seen, expected)
    if seen ~= expected then list[#list + 1] = ("%s: %s, not %s"):format(what, seen, expected) end
  end
  local outer = {}
  for i, node in ipairs(nodes_of(case)) do
    local possible = loose and node.possible[node.seen]
    if node.seen and not possible then check(("%s (%d)"):format(node.kind, i), node.seen, node.expected) end
    if not node.seen and node.expected ~= "cancelled" and (outer.seen or i == 1) then
      check(node.kind, "never run", node.expected) -- only what is cancelled before its first step may be that
    end
    outer = node
    if not loose and node.scope then check("expired()", node.scope:expired(), node.expired) end
  end
  if not loose then check("requests left", case.pending, pending) end
  return list
end

-- The model, in one order of what happens at the same instant or another; what differs from it if none fits.
local function compare(case)
  local nodes, last = nodes_of(case), nil
  for _, node in ipairs(nodes) do node.possible = {} end
  for round = 1, 400 do
    local pending = predict(case, round)
    local now = differences(case, pending)
    if #now == 0 then return {} end
    last = last or now
    for _, node in ipairs(nodes) do node.possible[node.expected or "cancelled"] = true end
  end
  return #differences(case, nil, true) == 0 and {} or last
end

local function subject(case, notes)
  local ok, value = pcall(runner_of(case.tree, notes))
  local self = asyncio.current_task()
  notes.counted = self:cancelling() == notes.cancels
  case.pending = 0
  while not pcall(sleep, 0) do case.pending = case.pending + 1 end
  if not ok then error(value, 0) end
  return value
end

local function check_leftovers(case, task, notes)
  t.assertEquals(notes.open, 0, "<close>s that never ran")
  t.assertTrue(notes.counted, "cancelling() is not what was requested from outside")
  t.assertEquals(task:cancelled(), case.tree.seen == "cancelled", "task:cancelled()")
  for _, node in ipairs(nodes_of(case)) do
    t.assertTrue((node.closed or 0) == (node.seen and 1 or 0), "a <close> that ran twice or not at all")
    if node.lock then t.assertFalse(node.lock:locked(), "a lock is held") end
    if node.queue then
      t.assertEquals(node.queue:qsize() + (node.got and 1 or 0), 1, "items")
      t.assertEquals(node.got ~= nil, node.seen == "value", "an item that was taken")
    end
  end
end

local function run_case(case)
  local notes, began_at = { open = 0, cancels = 0 }, asyncio.get_running_loop():time()
  local began = create_task(subject, case, notes)
  for _, time in ipairs(case.cancels) do
    asyncio.get_running_loop():call_later(time, function()
      if began:cancel() then notes.cancels = notes.cancels + 1 end
    end)
  end
  asyncio.wait { began }
  local last = began_at + math.max(0, table.unpack(case.cancels))
  while #asyncio.all_tasks() > 1 or asyncio.get_running_loop():time() <= last do sleep(1) end
  if not began:cancelled() then began:exception() end
  check_leftovers(case, began, notes)
  local list = compare(case)
  if #list > 0 then t.fail(table.concat(list, "; ")) end
end

-- Reading a case

local SCOPES = { timeout = true, timeout_at = true, wait_for = true, wait_for_coroutine = true, wait_for_task = true,
  move_on_after = true, group_failing = true }

local function read(text)
  local chain, cancels = text:match "^(.-)%s*cancel%s*([%d ]*)$"
  local case, last = { cancels = {} }, nil
  for time in (cancels or ""):gmatch "%d+" do table.insert(case.cancels, time // 1) end
  for kind, after in (chain or text):gmatch "([%a_]+)[(@]?(%d*)" do
    local node = { kind = kind, after = tonumber(after) }
    if last then last.inner = node else case.tree = node end
    last = node
  end
  return case
end

local function explained(err)
  if type(err) == "table" and err.msg then return err.msg end -- luaunit's
  return type(err) == "string" and debug.traceback(err) or tostring(err)
end

-- Runs the cases from `first` to `last` in one loop. No timer is left behind: the deadlock at the end comes
-- without a jump of time.
local function run_some(cases, first, last)
  t.run(function()
    for i = first, last do
      local ok, why = xpcall(run_case, explained, read(cases[i]))
      if not ok then t.fail(("%s\nto see it again: CASE=%q"):format(why, cases[i])) end
    end
    local loop = asyncio.get_running_loop()
    local ended_at = loop:time()
    t.assert_raises(asyncio.DeadlockError, await, loop:create_future())
    t.assertEquals(loop:time(), ended_at)
  end)
end

local function run_cases(cases)
  for first = 1, #cases, 500 do run_some(cases, first, math.min(first + 499, #cases)) end
end

-- The cases

local KINDS, LEAVES = {}, {}
for kind in pairs(run) do KINDS[#KINDS + 1] = kind end
for kind in pairs(leaves) do LEAVES[#LEAVES + 1] = kind end
table.sort(KINDS)
table.sort(LEAVES)

local function text_of(kind, after) return SCOPES[kind] and after and ("%s(%d)"):format(kind, after) or kind end

-- When the outer and the inner deadline, what is waited for, and the cancellations come.
local MOMENTS = {
  { leaf = 4, cancel = "" },
  { outer = 6, inner = 2, leaf = 4, cancel = "" },
  { outer = 2, inner = 6, leaf = 4, cancel = "" },
  { outer = 2, inner = 2, leaf = 4, cancel = "" },
  { outer = 3, inner = 2, leaf = 4, cancel = "" },
  { outer = 4, inner = 4, leaf = 4, cancel = "" },
  { leaf = 4, cancel = " cancel 0" },
  { leaf = 4, cancel = " cancel 2" },
  { leaf = 4, cancel = " cancel 4" },
  { leaf = 4, cancel = " cancel 9" },
  { leaf = 4, cancel = " cancel 2 2" },
  { leaf = 4, cancel = " cancel 2 3" },
  { outer = 6, inner = 2, leaf = 4, cancel = " cancel 3" },
  { outer = 2, inner = 6, leaf = 4, cancel = " cancel 3 3" },
  { outer = 2, inner = 2, leaf = 2, cancel = " cancel 2" },
  { outer = 3, inner = 3, leaf = 4, cancel = " cancel 2" },
}

TestCombinations = {}

function TestCombinations:test_every_pair_at_every_moment()
  local cases, n = {}, 0
  local step = t.slow and 97 or os.getenv "SPEC_GC" and 7 or os.getenv "SEEDS" and 1 or 3 -- coprime to 5 leaves
  for _, outer in ipairs(KINDS) do
    for _, inner in ipairs(KINDS) do
      for _, moment in ipairs(MOMENTS) do
        for _, leaf in ipairs(LEAVES) do
          n = n + 1
          if n % step == 0 then
            cases[#cases + 1] = ("%s %s %s@%d%s"):format(text_of(outer, moment.outer), text_of(inner, moment.inner),
              leaf, moment.leaf, moment.cancel)
          end
        end
      end
    end
  end
  run_cases(cases)
end

-- Deeper trees, at random.
local function random_case(seed)
  math.randomseed(seed)
  local words = {}
  for i = 1, math.random(3, 6) do
    words[i] = text_of(KINDS[math.random(#KINDS)], math.random(4) > 1 and math.random(6) or nil)
  end
  words[#words + 1] = ("%s@%d"):format(LEAVES[math.random(#LEAVES)], math.random(6))
  local cancels = math.random(0, 3)
  if cancels > 0 then words[#words + 1] = "cancel" end
  for _ = 1, cancels do words[#words + 1] = math.random(0, 8) end
  return table.concat(words, " ")
end

function TestCombinations:test_random_trees()
  local cases = {}
  for seed = 1, os.getenv "SEEDS" or t.count(os.getenv "SPEC_GC" and 500 or 2000) do cases[seed] = random_case(seed) end
  run_cases(cases)
end

if os.getenv "CASE" then
  TestCombinations = { test_case = function() run_cases { os.getenv "CASE" } end }
end

t.finish()
