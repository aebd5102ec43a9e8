-- cluster.lua - for the specs of asyncio.distributed: a Redis, executors, workers in this process and beside it.
local t = require "helper"
local program = require "program"
local server = require "redis.server"
local worker = require "asyncio.distributed.worker"

local asyncio = t.asyncio
local cluster = {}

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$"

local Cluster = {}
Cluster.__index = Cluster

--- An executor; opts: further options of its own
function Cluster:executor(opts)
  local all = { url = self.url, retry_delay = 0.01 }
  for key, value in pairs(opts or {}) do all[key] = value end
  return asyncio.distributed.DistributedExecutor(all)
end

local Inner = {}
Inner.__index = Inner

--- A worker in this process: `local w <close> = c:worker{concurrency=}`; w.worker, w.log
function Cluster:worker(opts)
  opts = opts or {}
  local log, ready = {}, asyncio.Event()
  local made = worker.new {
    url = opts.url or self.url, queues = opts.queues, grace = opts.grace or 10,
    modules = opts.modules or { "distributed.chores" },
    concurrency = opts.concurrency, threads = opts.threads, log = function(line) log[#log + 1] = line end,
    on_ready = function() ready:set() end,
  }
  local task = asyncio.create_task { made.run, made, name = "worker" }
  local self_ = setmetatable({ worker = made, task = task, log = log }, Inner)
  task:add_done_callback(function() ready:set() end)
  ready:wait()
  if task:done() then asyncio.await(task) end
  return self_
end

function Inner:stop()
  self.worker:stop()
  asyncio.await(self.task)
end

function Inner:__close() self:stop() end

local Outer = {}
Outer.__index = Outer

--- A worker in a process of its own: w.process, w:wait_for(pattern); opts: `url`, `module`, `env`, `unready`
function Cluster:process(args, opts)
  opts = opts or {}
  local words = { here .. "/../../bin/asyncio", "worker", "--url", opts.url or self.url }
  for word in (args or ""):gmatch "%S+" do words[#words + 1] = word end
  words[#words + 1] = opts.module or "distributed.chores"
  words[#words + 1] = { stderr = "pipe", extra_env = opts.env }
  local process = asyncio.create_subprocess_exec(program.lua, table.unpack(words))
  local made = setmetatable({ process = process, output = "", grown = asyncio.Event() }, Outer)
  made.reading = asyncio.create_task(function()
    for line in process.stderr:lines() do
      made.output = made.output .. line .. "\n"
      made.grown:set()
    end
    made.ended = true
    made.grown:set()
  end)
  if not opts.unready then made:wait_for "takes jobs of" end
  return made
end

--- Waits until it has said something that matches.
function Outer:wait_for(pattern)
  while not self.output:find(pattern) do
    if self.ended then t.fail(("%q never came; there was: %s"):format(pattern, self.output)) end
    self.grown:clear()
    self.grown:wait()
  end
end

function Outer:signal(name) self.process:send_signal(name) end

--- How it has ended.
function Outer:wait()
  local status = self.process:wait()
  asyncio.await(self.reading)
  return status
end

function Outer:__close()
  self.process:send_signal "SIGCONT"
  self.process:kill()
  self:wait()
end

--- Calls fn(future, executor, file, worker) once a first worker has begun a job of so many seconds, which writes into
-- the file, and has been sent a signal.
function Cluster:with_signal_in_job(signal, lease, seconds, fn)
  local file <close> = cluster.file()
  local executor <close> = self:executor { lease = lease }
  local first <close> = self:process()
  local future = executor:submit("distributed.chores.note_and_sleep", file.path, "a", seconds)
  cluster.wait_for_content(file, "a\n")
  first:signal(signal)
  fn(future, executor, file, first)
end

--- Runs fn(cluster) as a test; more: options of the server; env: of its process
function cluster.test(fn, more, env)
  return t.real(function()
    local db <close> = server.start(more, env)
    local self = setmetatable({ db = db, url = db.url }, Cluster)
    fn(self)
  end)
end

--- A file that jobs write into: its path, a function that reads it.
function cluster.file()
  local path = os.tmpname()
  return setmetatable({ path = path }, {
    __index = { content = function() return program.content(path) end },
    __close = function() os.remove(path) end,
  })
end

--- Waits until the file has that.
function cluster.wait_for_content(file, pattern)
  for _ = 1, program.PATIENCE * 100 do
    if file.content():find(pattern) then return end
    asyncio.sleep(0.01)
  end
  t.fail(("%q never came; there was: %s"):format(pattern, file.content()))
end

--- Waits until the executor's numbers have that.
function cluster.wait_for_stats(executor, key, value)
  for _ = 1, program.PATIENCE * 100 do
    if executor:stats()[key] == value then return end
    asyncio.sleep(0.01)
  end
  t.fail(("%s is %s"):format(key, executor:stats()[key]))
end

return cluster
