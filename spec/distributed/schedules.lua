-- schedules.lua - random programs for asyncio.distributed: executors and workers as they are, on the virtual clock,
-- over a Redis in memory; machines die and stand still, the network delays, loses and cuts. Whatever happens: each job
-- has one end, what was given up is on the dead list, nothing is left over, and nobody took what another held.
local calls = require "distributed.calls"
local simulated = require "distributed.simulated"

local asyncio = require "asyncio"
local keeper = require "asyncio.distributed.keeper"
local threads = require "asyncio.threads"
local worker = require "asyncio.distributed.worker"

local schedules = {}

local any, fails_with, has, outcome = calls.any, calls.fails_with, calls.has, calls.outcome
local random, submit_until_stored = math.random, calls.submit_until_stored
local LEASE = 3 -- seconds

-- What workers run

local MODULE = "simulated_jobs"
local jobs, here = {}, asyncio.ContextVar "machine" -- { world, machine, log }

--- Does nothing any more on a machine that has died.
local function live()
  if here:get().machine.dead then asyncio.sleep(math.huge) end
end

local function rest(seconds)
  asyncio.sleep(seconds)
  live()
end

local function note(log, id, ...)
  log.story[id] = log.story[id] or {}
  table.insert(log.story[id], ("%8.3f %s"):format(asyncio.get_running_loop():time(), table.concat({ ... }, " ")))
end

local function begin()
  live()
  local job, log = asyncio.distributed.job(), here:get().log
  note(log, job.id, "attempt", job.attempt, "begins on", here:get().machine.name)
  log.starts[job.id] = log.starts[job.id] or {}
  if log.starts[job.id][job.attempt] then
    here:get().world:violated(("%s: attempt %d began twice"):format(job.id, job.attempt))
  end
  log.starts[job.id][job.attempt] = true
  return job, log
end

--- How often the job was lost before it came to this machine; 0: another has it by now.
local function losses(world, machine, id)
  local entry = world.db.keys["asyncio:{q}:job:" .. id]
  local job = entry and asyncio.parsers.unpack(entry.value) or { "", {} }
  local key = "asyncio:{q}:" .. (job[2].p or "")
  local pending = job[1] ~= "" and world.db:reply("XPENDING", key, "workers", job[1], job[1], "1")
  local owner = pending and pending[1] and pending[1][2]
  return owner == machine.worker and job[2].lost or 0
end

--- Who was lost twice runs alone in its worker.
local function enter(id)
  local world, machine = here:get().world, here:get().machine
  local lost = losses(world, machine, id)
  local other = next(machine.runs)
  if other and not machine.dead and (lost >= 2 or machine.runs[other] >= 2) then
    world:violated(("%s, lost %d times, runs beside %s, lost %d times"):format(id, lost, other, machine.runs[other]))
  end
  machine.runs[id] = lost
  return setmetatable({}, { __close = function() machine.runs[id] = nil end })
end

function jobs.plain(n)
  local _ <close> = enter(begin().id)
  rest(random() * 2)
  return n, nil, { n, "\xff" }
end

--- In no time, for specs that measure others'.
function jobs.quick(n)
  begin()
  return n
end

--- Longer than a lease.
function jobs.long(n)
  local _ <close> = enter(begin().id)
  for _ = 1, 5 do rest(LEASE * random()) end
  return n
end

function jobs.flaky(n)
  local _ <close> = enter(begin().id)
  rest(random())
  if random(2) == 1 then error("flaky", 0) end
  return n
end

function jobs.fails(n)
  local _ <close> = enter(begin().id)
  rest(random())
  error("fails " .. n, 0)
end

function jobs.slow()
  local _ <close> = enter(begin().id)
  asyncio.sleep(1000)
end

--- Whoever runs it dies.
function jobs.poison()
  local _ <close> = enter(begin().id)
  rest(random())
  here:get().world:kill(here:get().machine.name)
  live()
end

function jobs.once(n)
  local job, log = begin()
  local _ <close> = enter(job.id)
  local kept = job:once("deed", function(again)
    live()
    log.deeds[#log.deeds + 1] = { id = job.id, again = again }
    rest(random())
    return ("%d, kept by attempt %d"):format(n, job.attempt)
  end)
  live()
  log.kept[job.id] = log.kept[job.id] or kept
  if log.kept[job.id] ~= kept then here:get().world:violated(job.id .. ": another result was kept") end
  rest(random())
  if random(4) == 1 then error("after the deed", 0) end
  return kept
end

-- What runs, and what its future must have: a function of its outcome

local KINDS = {
  plain = function(n) return { MODULE .. ".plain", n, retries = 0 }, has(n) end,
  long = function(n) return { MODULE .. ".long", n }, has(n) end,
  flaky = function(n) return { MODULE .. ".flaky", n, retries = 1000 }, has(n) end,
  fails = function(n) return { MODULE .. ".fails", n, retries = random(0, 2) }, fails_with("fails " .. n), true end,
  slow = function(n) return { MODULE .. ".slow", n, timeout = 0.5, retries = 1 }, fails_with "timeout", true end,
  keyed = function(n) return { MODULE .. ".plain", n, key = "key " .. random(4) }, nil end,
  once = function(n) return { MODULE .. ".once", n, retries = 1000 }, nil end,
}

local NAMES = { "plain", "plain", "plain", "long", "flaky", "fails", "slow", "once", "once", "keyed", "keyed" }
local PRIORITIES = { "high", "normal", "low" }

-- Workers

--- The keeper of leases runs in the same loop here.
local function in_this_loop()
  local task
  return {
    submit = function(_, fn, ...)
      assert(fn == keeper.main)
      task = asyncio.create_task(keeper.keep, ...)
      return task
    end,
    shutdown = function() task:cancel() end,
  }
end

local function end_all(made)
  local list = {}
  for _, job in pairs(made.running) do
    if job.task then
      job.task:cancel()
      list[#list + 1] = job.task
    end
  end
  if list[1] then asyncio.wait(list) end
end

--- A machine with a worker, until it dies; another takes its place, until the world ends.
local function keep_machines(world, log, number)
  local life = 0
  while not log.over do
    life = life + 1
    local machine = world:machine(("w%d-%d"):format(number, life))
    log.machines[number] = machine
    here:set { world = world, machine = machine, log = log }
    local made = worker.new {
      url = "redis://" .. machine.name, queues = { "q" }, modules = { MODULE }, grace = 2,
      concurrency = log.concurrency or random(1, 4),
      connect_timeout = 10, log = function(line)
        local id, what = line:match "^(%x+%-%d+) (.*)$"
        if id then note(log, id, machine.name, what) end
      end,
    }
    machine.worker = made.name
    local task = asyncio.create_task { made.run, made, name = machine.name }
    while not machine.dead and not log.over and not task:done() do
      if machine.leaves then made:stop() end
      asyncio.sleep(0.05)
    end
    if machine.dead then
      task:cancel()
    else
      made:stop()
      asyncio.wait { task }
    end
    asyncio.wait { task }
    end_all(made)
    local err = not task:cancelled() and task:exception() or nil
    if err ~= nil and not machine.dead and not asyncio.isinstance(err, asyncio.ConnectionError) then
      world:violated("a worker failed: " .. tostring(err))
    end
    if not log.over then asyncio.sleep(random() * 2) end
  end
end

-- What happens

local MISFORTUNES = {
  function(world, log) world:kill(any(log.machines).name) end,
  function(world, log) world:kill(any(log.machines).name) end,
  function(world, log) world:freeze(any(log.machines).name, random() * 2 * LEASE) end,
  function(world, log) world:freeze(any(log.machines).name, random() * 2 * LEASE) end,
  function(_, log) any(log.machines).leaves = true end,
  function(world, log)
    if log.saved and random(2) == 1 then log.forgotten = true end
    world:restart(random() * 2, log.forgotten and log.saved)
    log.saved = nil
  end,
  function(world) world:freeze("caller", random() * 5) end,
  function(world) world.skew = world.skew + random(-10, 20) end,
}

--- What a Redis has on its disk that writes there from time to time.
local function save(world, log)
  while not log.over do
    log.saved = world.db:save()
    asyncio.sleep(random() * 2)
  end
end

local function misfortunes(world, seconds, log)
  local loop = asyncio.get_running_loop()
  local ends = loop:time() + seconds
  world.faulty = true
  while loop:time() < ends do
    asyncio.sleep(random() * 2)
    any(MISFORTUNES)(world, log)
  end
  world.faulty = false
end

-- What must hold

local function read(raw)
  local job = asyncio.parsers.unpack(raw)
  return job[2]
end

local OPEN = { queued = true, delayed = true }

--- Looks at each change: what has ended stays as it ended, and what is claimed was left alone for a lease.
local function observe(world, log)
  local db = world.db
  function db.on_change(key)
    local id = key:match "^asyncio:{q}:job:(.*)$"
    local entry = id and db.keys[key]
    if not entry then return end
    local facts, former = read(entry.value), log.ended[id]
    note(log, id, facts.state, "base", facts.base or 0, "lost", facts.lost or 0, "tries", facts.tries or 0)
    if former and (former.state ~= facts.state or former.result ~= facts.result) then
      world:violated(("%s: was %s, and is %s"):format(id, former.state, facts.state))
    end
    if not OPEN[facts.state] then log.ended[id] = facts end
  end
  function db.on_claim(entry, nack, consumer, idle)
    note(log, entry.fields[2], consumer, "claims it of", nack.consumer, "after", idle, "delivery", nack.count)
    if idle < LEASE * 1000 then
      world:violated(("%s took %s of %s after %d ms"):format(consumer, entry.fields[2], nack.consumer, idle))
    end
  end
  function db.on_drop(key, n)
    if n > 0 then world:violated(("%d pending entries of %s went with their consumer"):format(n, key)) end
  end
end

--- Who was told first that it is the first may be the last to do it.
local function check_deeds(world, log)
  local first = {}
  for _, deed in ipairs(log.deeds) do
    if first[deed.id] and not deed.again then world:violated(deed.id .. ": was done twice, and not told so") end
    first[deed.id] = first[deed.id] or not deed.again
  end
end

--- Whether it is what this call was to have; the calls of one key have that of one of them.
local function is_right(log, call, ok, value)
  local id = call.future.job_id
  if log.forgotten and ok == false and asyncio.isinstance(value, asyncio.distributed.JobLost) then return true end
  if call.kind == "once" then return ok == true and value == log.kept[id] end
  if call.kind ~= "keyed" then return call.check(ok, value) end
  log.keyed[id] = log.keyed[id] or value
  return ok == true and math.type(value) == "integer" and value == log.keyed[id]
end

--- Of each call: it has ended as it should.
local function check_calls(world, log)
  for n, call in ipairs(log.calls) do
    local ok, value = outcome(call.future)
    local facts = log.ended[call.future.job_id]
    if not call.future:done() then
      world:violated(("call %d, %s: has not ended"):format(n, call.kind))
    elseif not (ok == "cancelled" and (call.may_be_cancelled or call.kind == "keyed"))
      and not is_right(log, call, ok, value) then
      world:violated(("call %d, %s %s: %s, %s"):format(n, call.kind, call.future.job_id, ok, value))
    elseif not facts then
      world:violated(("call %d, %s: nobody knows how it ended"):format(n, call.kind))
    end
  end
end

local GIVEN_UP = { failed = true, dead = true }

local function check_left_over(world, log)
  local db, dead = world.db, {}
  for _, p in ipairs(PRIORITIES) do
    local key = "asyncio:{q}:" .. p
    local pending = db:reply("XPENDING", key, "workers")
    if db:run("XLEN", key) > 0 then world:violated(p .. ": entries are left") end
    if not pending.err and pending[1] > 0 then world:violated(p .. ": entries are pending") end
  end
  for _, id in ipairs(db:run("LRANGE", "asyncio:{q}:dead", "0", "-1")) do
    if dead[id] then world:violated(id .. ": is on the dead list twice") end
    dead[id] = true
    local facts = log.ended[id]
    if not facts or not GIVEN_UP[facts.state] or not facts.result then
      world:violated(id .. ": is on the dead list without a reason")
    end
  end
  for id, facts in pairs(log.ended) do
    if GIVEN_UP[facts.state] and not dead[id] then world:violated(id .. ": is not on the dead list") end
  end
  for _, what in ipairs { { "ZCARD", "delayed" }, { "SCARD", "cancels" } } do
    if db:run(what[1], "asyncio:{q}:" .. what[2]) > 0 then world:violated(what[2] .. ": something is left") end
  end
  for key, entry in pairs(db.keys) do
    if key:find "^asyncio:{q}:job:" and OPEN[read(entry.value).state] then world:violated(key .. ": is open") end
  end
end

local REPETITIONS = {
  "attempt %d+ began", ": was ", "another result was kept", "dead list", "runs beside", "^call %d+, once",
  "knows how it ended",
}

--- A Redis that forgets what it knew may do again what was done, and beside whom it will; but all must end.
local function without_repetitions(violations)
  local left = {}
  for _, text in ipairs(violations) do
    local excused = false
    for _, pattern in ipairs(REPETITIONS) do excused = excused or text:find(pattern) end
    if not excused then left[#left + 1] = text end
  end
  return left
end

-- All of it

local function submit(executor, log, n)
  local kind = any(NAMES)
  local call, check = KINDS[kind](n)
  call.priority = any(PRIORITIES)
  if random(5) == 1 then call.delay = random() * 5 end
  local future = submit_until_stored(executor, call)
  log.calls[n] = { kind = kind, check = check, future = future }
  if random(8) == 1 then
    log.calls[n].may_be_cancelled = true
    asyncio.get_running_loop():call_later(random() * 5, future.cancel, future)
  end
end

local function submit_all(executor, log, n, poisons)
  for i = 1, n do
    submit(executor, log, i)
    asyncio.sleep(random() * 0.5)
  end
  for i = n + 1, n + poisons do
    local future = submit_until_stored(log.poisoner, { MODULE .. ".poison" })
    log.calls[i] = { kind = "poison", check = fails_with "died, or stalled", future = future }
  end
end

local function executor_of(name, most)
  return asyncio.distributed.DistributedExecutor {
    url = "redis://" .. name, queue = "q", lease = LEASE, max_attempts = most, retry_delay = 0.5, connect_timeout = 10,
  }
end

local function settle(world, log, seconds)
  local loop = asyncio.get_running_loop()
  local ends = loop:time() + seconds
  local function is_over()
    for _, call in ipairs(log.calls) do
      if not call.future:done() then return false end
    end
    for _, p in ipairs(PRIORITIES) do
      if world.db:run("XLEN", "asyncio:{q}:" .. p) > 0 then return false end
    end
    return world.db:run("ZCARD", "asyncio:{q}:delayed") == 0
  end
  while loop:time() < ends and not is_over() do asyncio.sleep(1) end
end

--- Calls fn(world, log) in a world in which all is noted. opts: `rate` of commands that meet with a misfortune.
local function with_world(opts, fn)
  local world <close> = simulated.world {
    faults = {
      rate = opts.rate or 0, kinds = { "lost", "unanswered", "unanswered", "silent", "late", "answered late" },
      late = 2 * LEASE,
    },
  }
  local log = {
    story = {}, starts = {}, deeds = {}, kept = {}, ended = {}, keyed = {}, machines = {}, calls = {}, over = false,
  }
  local former = threads.ThreadPoolExecutor
  package.loaded[MODULE], threads.ThreadPoolExecutor = jobs, in_this_loop
  local _ <close> = asyncio.defer(function() package.loaded[MODULE], threads.ThreadPoolExecutor = nil, former end)
  observe(world, log)
  fn(world, log)
  return log.forgotten and without_repetitions(world.violations) or world.violations, log, world
end

--- Has so many machines with workers while fn runs.
local function with_machines(world, log, n, fn)
  local machines = {}
  for i = 1, n do machines[i] = asyncio.create_task(keep_machines, world, log, i) end
  asyncio.sleep(0)
  fn()
  log.over = true
  asyncio.wait(machines)
end

local function go_through(world, log, opts)
  local executor, poisoner <close> = executor_of("caller", 1000), executor_of("poisoner", 3)
  log.poisoner = poisoner
  with_machines(world, log, opts.machines, function()
    local saving = opts.forgets and asyncio.create_task(save, world, log)
    local trouble = asyncio.create_task(misfortunes, world, opts.seconds, log)
    submit_all(executor, log, opts.jobs, opts.poisons)
    asyncio.await(trouble)
    settle(world, log, 600)
    check_calls(world, log)
    check_deeds(world, log)
    check_left_over(world, log)
    log.over = true
    if saving then asyncio.await(saving) end
    for _, call in ipairs(log.calls) do call.future:cancel() end
  end)
  executor:shutdown { wait = false }
end

--- Runs one. opts: `jobs`, `poisons`, `machines`, `seconds` of misfortunes, `rate` of commands that meet with one,
-- `forgets`: Redis may go back to what it had saved when it is started again. Returns what was violated, a list, and
-- the log.
function schedules.run(_, opts)
  return with_world(opts, function(world, log) go_through(world, log, opts) end)
end

schedules.with_world, schedules.with_machines, schedules.executor_of = with_world, with_machines, executor_of
schedules.MODULE, schedules.LEASE = MODULE, LEASE

return schedules
