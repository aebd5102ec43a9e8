-- trouble.lua - a Redis, workers that are processes, and what may happen to them: kill -9, SIGSTOP past a lease, a
-- Redis that dies and comes back, replies that are swallowed, clocks that jump. At the end each job has one result,
-- each deed was done once or was told that it was done before, nothing is pending, and what was given up is on the
-- dead list.
local t = require "helper"
local calls = require "distributed.calls"
local program = require "program"
local server = require "redis.server"

local asyncio = t.asyncio
local trouble = {}

local any, fails_with, has, outcome = calls.any, calls.fails_with, calls.has, calls.outcome
local random, submit_until_stored = math.random, calls.submit_until_stored
local LEASE = 2 -- seconds
local MODULE = "distributed.trouble_jobs"

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$"

-- The network: a proxy between all and Redis

local HARMS = {
  function() return "" end, -- swallowed: from now on nothing comes
  function() return nil end, -- cut
  function(piece)
    asyncio.sleep(random() * 2 * LEASE)
    return piece
  end,
}

local function pump(self, reader, writer)
  local deaf = false
  while true do
    local piece = reader:read(65536)
    if not piece then return end
    if self.faulty and random() < self.rate then
      self.harms = self.harms + 1
      local rest = any(HARMS)(piece)
      if not rest then return end
      deaf = deaf or rest == ""
    end
    if not deaf then writer:send(piece) end
  end
end

local function serve(self, reader, writer)
  local ok, to_reader, to_writer = asyncio.pcall(asyncio.open_unix_connection, self.db.path)
  if not ok then return writer:abort() end
  local there = asyncio.create_task(asyncio.pcall, pump, self, reader, to_writer)
  local back = asyncio.create_task(asyncio.pcall, pump, self, to_reader, writer)
  local _ <close> = asyncio.defer(function()
    there:stop()
    back:stop()
    to_writer:abort()
    writer:abort()
  end)
  asyncio.wait({ there, back }, { return_when = asyncio.FIRST_COMPLETED })
end

-- Workers

--- Where Debian's libfaketime is; nil: it is not installed, or a tool has that place.
function trouble.faketime()
  if os.getenv "LD_PRELOAD" then return nil end
  local path = program.shell "ls /usr/lib/*/faketime/libfaketimeMT.so.1 2>/dev/null"
  return path:match "%S+"
end

--- A clock that jumps: the environment for a process that has it.
local function odd_clock(self)
  if not self.faketime then return nil end
  return {
    LD_PRELOAD = self.faketime, FAKETIME_TIMESTAMP_FILE = self.clock, FAKETIME_NO_CACHE = "1",
    FAKETIME_DONT_FAKE_MONOTONIC = "1", FAKETIME_XRESET = "1",
  }
end

local function environment(self, number)
  local env = { LUA_PATH = package.path, LUA_CPATH = package.cpath }
  if number == 1 then
    for name, value in pairs(odd_clock(self) or {}) do env[name] = value end
  end
  return env
end

local function start_worker(self, number)
  return asyncio.create_subprocess_exec(program.lua, here .. "/../../bin/asyncio", "worker", "--url", self.url,
    "--queue", "chaos", "--concurrency", tostring(self.concurrency), "--grace", "1", MODULE,
    { stdin = "null", stdout = "null", stderr = self.log, extra_env = environment(self, number) })
end

--- Has a worker in that place, always.
local function keep_worker(self, number)
  while not self.over do
    local process = start_worker(self, number)
    self.workers[number] = process
    process:wait()
    self.ended = self.ended + 1
    asyncio.sleep(0.1)
  end
end

local function signal(self, name)
  local process = any(self.workers)
  if process then pcall(process.send_signal, process, name) end
  return process
end

-- What happens

local function restart(self)
  self.db:kill()
  asyncio.sleep(random())
  self.db:run()
end

local function set_clock(self)
  local file <close> = assert(io.open(self.clock, "w"))
  file:write(("%+d\n"):format(random(-100000, 100000)))
end

local MISFORTUNES = {
  kill = function(self) signal(self, "SIGKILL") end,
  leave = function(self) signal(self, "SIGTERM") end,
  stop = function(self)
    local process = signal(self, "SIGSTOP")
    asyncio.sleep(random() * 3 * LEASE)
    if process then pcall(process.send_signal, process, "SIGCONT") end
  end,
  restart = restart,
  clock = function(self) if self.faketime then set_clock(self) end end,
}

local NAMES = { "kill", "kill", "leave", "stop", "stop", "restart", "clock" }

local function misfortunes(self)
  self.faulty = true
  while not self.all_submitted do
    local name = any(NAMES)
    MISFORTUNES[name](self)
    self.happened[name] = (self.happened[name] or 0) + 1
    asyncio.sleep(random() * 1.5)
  end
  self.faulty = false
end

-- Jobs, and what is to become of them

local KINDS = {
  function(_, n) return { MODULE .. ".plain", n }, has(n) end,
  function(_, n) return { MODULE .. ".long", n, random() * 2 * LEASE }, has(n) end,
  function(_, n) return { MODULE .. ".compute", n, random() / 4 }, has(n) end,
  function(_, n) return { MODULE .. ".flaky", n, retries = 1000 }, has(n) end,
  function(_, n) return { MODULE .. ".fails", n, retries = 1 }, fails_with("fails " .. n), true end,
  function(self, n)
    return { MODULE .. ".once", n, self.file, random() / 5, retries = 1000 },
      function(ok, value) return ok == true and value:find("^" .. n .. " by") ~= nil end
  end,
}

--- Nothing but the deed, at once.
local function quick(self, n)
  local call, check = KINDS[6](self, n)
  call[4] = 0
  return call, check
end

local function pick(self, n)
  if random() < self.quick then
    if random(2) == 1 then return KINDS[1](self, n) end
    return quick(self, n)
  end
  if random(200) == 1 then return { MODULE .. ".deadly", n }, has(n) end
  return KINDS[random(3) > 1 and any { 1, 1, 6 } or random(#KINDS)](self, n)
end

local function fault(self, ...)
  if #self.faults < 20 then self.faults[#self.faults + 1] = table.concat({ ... }, " ") end
end

local function watch(self, n, call, future, check, given_up)
  local id = future.job_id
  self.given_up[id] = given_up
  self.open, self.submitted, self.unfinished[id] = self.open + 1, self.submitted + 1, true
  future:add_done_callback(function()
    self.open, self.unfinished[id] = self.open - 1, nil
    local ok, value = outcome(future)
    if not check(ok, value) then fault(self, "job", n, call[1], id, tostring(ok), tostring(value)) end
    if call[1]:find "once$" and ok == true then self.results[id] = value end
    self.room:set()
  end)
end

local function submit_some(self, executor, poisoner, opts)
  local ends = asyncio.time() + opts.seconds
  while asyncio.time() < ends and self.made < (opts.jobs or math.huge) do
    if self.open >= self.most then
      self.room:clear()
      self.room:wait()
    else
      self.made = self.made + 1
      local n = self.made
      local call, check, given_up = pick(self, n)
      watch(self, n, call, submit_until_stored(executor, call), check, given_up)
      if n % 2000 == 100 then
        local poison = { MODULE .. ".poison" }
        watch(self, n, poison, submit_until_stored(poisoner, poison), fails_with "died, or stalled", true)
      end
    end
  end
end

--- For so long, and so many if there is a number; in several tasks, as then they are stored in batches.
local function submit_all(...)
  local self, _, _, opts = ...
  do
    local group <close> = asyncio.TaskGroup()
    for _ = 1, opts.submitters or 1 do group:create_task(submit_some, ...) end
  end
  self.all_submitted = true
end

-- What must hold

--- Deeds are done once, or told that they may have been done before: who was told first may be last, as it stood still
-- meanwhile. What was kept is one thing, and the result.
local function check_deeds(self)
  local done, first, kept = {}, {}, {}
  for line in io.lines(self.file) do
    local id, again = line:match "^deed (%S+) %d+ (%a+)$"
    if id then
      self.deeds = self.deeds + 1
      if first[id] and again == "false" then fault(self, "the deed of", id, "was done twice, and not told so") end
      first[id] = first[id] or again == "false"
      if done[id] then self.again = self.again + 1 end
      done[id] = true
    else
      local text
      id, text = line:match "^kept (%S+) (.*)$"
      if not id then fault(self, "a line that is none:", line) elseif kept[id] and kept[id] ~= text then
        fault(self, "two results were kept:", text, "and", kept[id])
      else
        kept[id] = text
      end
    end
  end
  for id, value in pairs(self.results) do
    if kept[id] ~= value then fault(self, "job", id, "has another result than was kept:", value) end
  end
end

local function check_redis(self)
  local client <close> = self.db:connect { protocol = 2 }
  for _, p in ipairs { "high", "normal", "low" } do
    local key = "asyncio:{chaos}:" .. p
    if client:call("XLEN", key) > 0 then fault(self, p, "has entries") end
    local ok, pending = asyncio.pcall(client.call, client, "XPENDING", key, "workers")
    if ok and pending[1] > 0 then fault(self, p, "has pending entries") end
  end
  local dead = {}
  for _, id in ipairs(client:call("LRANGE", "asyncio:{chaos}:dead", 0, -1)) do
    dead[id] = true
    local raw = client:call("GET", "asyncio:{chaos}:job:" .. id)
    local facts = raw and asyncio.parsers.unpack(raw)[2] or {}
    if not facts.result or facts.result == "" then fault(self, "dead job", id, "has no reason") end
  end
  local n, missing = 0, nil
  for id in pairs(self.given_up) do
    n = n + 1
    if not dead[id] then missing = id end
  end
  if missing and n <= 1000 then fault(self, missing, "is not on the dead list") end -- which has that many
end

--- What Redis says of a job that has not ended.
local function tell_of_open(self)
  local client <close> = self.db:connect { protocol = 2 }
  for id in pairs(self.unfinished) do
    local raw = client:call("GET", "asyncio:{chaos}:job:" .. id)
    local job = raw and asyncio.parsers.unpack(raw)
    local facts = job and job[2] or {}
    local pending = job and job[1] ~= ""
      and client:call("XPENDING", "asyncio:{chaos}:" .. facts.p, "workers", job[1], job[1], 1)[1] or {}
    fault(self, id, tostring(facts.name), "has not ended: it is", tostring(facts.state), "entry",
      job and job[1] or "none", "of", tostring(pending[2]), "idle for", tostring(pending[3]), "delivery",
      tostring(pending[4]))
  end
end

local function wait_for_jobs(self)
  local ends = asyncio.time() + self.patience
  while self.open > 0 and asyncio.time() < ends do asyncio.sleep(0.1) end
  if self.open > 0 then tell_of_open(self) end
end

local function end_workers(self, keeping)
  self.over = true
  for _, process in ipairs(self.workers) do
    pcall(process.send_signal, process, "SIGCONT")
    pcall(process.send_signal, process, "SIGTERM")
  end
  asyncio.wait(keeping)
end

local function with_all(self, opts)
  local _ <close> = asyncio.start_unix_server(function(reader, writer) serve(self, reader, writer) end, self.proxy)
  local keeping = {}
  for i = 1, opts.workers do keeping[i] = asyncio.create_task(keep_worker, self, i) end
  local function executor(most)
    return asyncio.distributed.DistributedExecutor {
      url = self.url, queue = "chaos", lease = LEASE, max_attempts = most, retry_delay = 0.05, max_retry_delay = 1,
      connect_timeout = 5,
    }
  end
  do
    local patient <close> = executor(1000)
    local other <close> = executor(3)
    local troubled = asyncio.create_task(misfortunes, self)
    submit_all(self, patient, other, opts)
    asyncio.await(troubled)
    wait_for_jobs(self)
    patient:shutdown { wait = false }
    other:shutdown { wait = false }
  end
  end_workers(self, keeping)
  check_redis(self)
  check_deeds(self)
end

--- Runs it, in a task. opts: `seconds`, `workers`, `rate` of pieces that the network harms, `most` jobs at a time;
-- `jobs`: how many it ends with, `quick`: the share of those that take no time, `concurrency` (4) of a worker,
-- `submitters` (1): tasks that submit.
-- Returns what was found: `faults`, a list of sentences; and numbers.
function trouble.run(opts)
  local faketime = trouble.faketime()
  local db <close> = server.start "--appendonly yes --appendfsync always"
  local log <close> = assert(io.open(os.getenv "CHAOS_LOG" or "/dev/null", "a"))
  local self = {
    db = db, log = log, proxy = db.folder .. "/proxy", url = "unix://" .. db.folder .. "/proxy", file = os.tmpname(),
    concurrency = opts.concurrency or 4, quick = opts.quick or 0, all_submitted = false, made = 0,
    clock = os.tmpname(), faketime = faketime, rate = opts.rate, most = opts.most, faulty = false, over = false,
    open = 0, submitted = 0, harms = 0, ended = 0, deeds = 0, again = 0, workers = {}, happened = {}, faults = {},
    given_up = {},
    results = {}, unfinished = {}, room = asyncio.Event(), patience = opts.patience or 120,
  }
  local _ <close> = asyncio.defer(function()
    os.remove(self.file)
    os.remove(self.clock)
  end)
  set_clock(self)
  with_all(self, opts)
  return self
end

return trouble
