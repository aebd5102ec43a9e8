--- A worker: takes jobs of its queues, as many as it has room for, runs them, and says how they have ended.
-- Here it begins and ends; what it says and asks is `serving`'s, what becomes of a job `running`'s.
-- @module asyncio.distributed.worker
local core = require "asyncio.core"
local keeper = require "asyncio.distributed.keeper"
local keys = require "asyncio.distributed.keys"
local link = require "asyncio.distributed.link"
local running = require "asyncio.distributed.running"
local serving = require "asyncio.distributed.serving"
local tasks = require "asyncio.tasks"
local threads = require "asyncio.threads"
local timeouts = require "asyncio.timeouts"

local STUBBORN = 5    -- seconds that a job has which was asked to end
local FAREWELL = 5    -- seconds for the last words

local Worker = {}
Worker.__index, Worker.__name = Worker, "asyncio.distributed.Worker"

--- Runs a script until Redis has answered; also says whether it was run again.
function Worker:ask(name, queue, ...) return self.link:run(math.huge, name, queue.base, ...) end

--- How many more jobs it may have.
function Worker:room()
  if self.stopping or self.alone then return 0 end
  return self.concurrency - self.busy
end

function Worker:tell(...)
  if self.log then self.log(string.format(...)) end
end

-- Life

--- In a task that ends with the worker; its failure ends the worker.
function Worker:begin(name, fn, a, b)
  local task = core.create_task { fn, self, a, b, name = name }
  self.tasks[task] = true
  task:add_done_callback(function(ended)
    self.tasks[ended] = nil
    if ended:cancelled() then return end
    local err, failed = ended:exception()
    if failed then self:fail(err) end
  end)
  return task
end

function Worker:fail(err)
  self.failure = self.failure or err
  self:stop()
end

--- Takes no job any more: `run` returns when those that run have ended, or have been given back.
function Worker:stop()
  if self.stopping then return end
  self.stopping = true
  self.changed:set()
  self.stopped:set()
end

local function ask_to_end(self)
  for _, job in pairs(self.running) do
    job.given_up = true
    if job.task then job.task:cancel() elseif not job.lost then running.say(self, job, "back") end
  end
end

--- What goes on all the same is another's from now on.
local function give_back_all(self)
  for _, job in pairs(self.running) do
    running.say(self, job, "back")
    running.free(self, job)
  end
end

local function wait_until_idle(seconds, talk)
  if talk:done() then return true end
  tasks.wait({ talk }, { timeout = seconds })
  return talk:done()
end

--- Ends the jobs: they have `grace`, then they are cancelled and given back.
local function wind_up(self, talk)
  if wait_until_idle(self.failure and 0 or self.grace, talk) then return end
  ask_to_end(self)
  if wait_until_idle(STUBBORN, talk) then return end
  give_back_all(self)
  if wait_until_idle(FAREWELL, talk) then return end
  talk:cancel()
  local unsaid = 0
  for _, queue in ipairs(self.queues) do unsaid = unsaid + #queue.ends end
  self:tell("redis at %s does not hear how %d job%s ended: others run what is not done", self.place.to,
    unsaid, unsaid == 1 and "" or "s")
end

--- Nothing is done in its name from now on: a keeper's sign of life would bring back a worker that has left.
local function dismiss_all(self)
  if self.ended then return end
  self.ended = true
  for task in pairs(self.tasks) do task:cancel() end
  self.orders:close()
  if self.kept then tasks.wait({ self.kept }, { timeout = FAREWELL }) end
end

local function leave_all(self)
  for _, queue in ipairs(self.queues) do self.link:run(FAREWELL, "leave", queue.base, self.name) end
end

--- What cannot be said is no failure: others see that it is not heard of.
local function say_goodbye(self)
  local ok, what = core.pcall(timeouts.move_on_after, FAREWELL, leave_all, self)
  if ok and what then return end
  if not ok and not link.is_passing(what) then error(what, 0) end
  self:tell("redis at %s is away: it leaves without a farewell", self.place.to)
end

local function check_server(self)
  local client = self.link:get()
  local version = client:call("INFO", "server"):match "redis_version:([%d.]+)" or "?"
  local major, minor = version:match "^(%d+)%.(%d+)"
  if tonumber(major or 0) * 100 + tonumber(minor or 0) < 602 then
    local text = "redis at %s is of version %s: 6.2 or later is needed"
    error(core.Error(text:format(self.place.to, version)), 0)
  end
  local ok, memory = core.pcall(client.call, client, "INFO", "memory")
  local policy = ok and memory:match "maxmemory_policy:(%S+)"
  if policy and policy ~= "noeviction" and memory:match "maxmemory:(%d+)" ~= "0" then
    self:tell("redis at %s may throw jobs away when its memory is full: set maxmemory-policy noeviction",
      self.place.to)
  end
end

local function first_contact(self)
  local patience = self.place.connect_timeout
  self.link:patiently(patience, function() check_server(self) end)
  for _, queue in ipairs(self.queues) do self.link:run(patience, "renew", queue.base, self.name) end
end

local function open(self)
  self.link = link.open(self.place)
  first_contact(self)
  local bases = {}
  for i, queue in ipairs(self.queues) do bases[i] = queue.base end
  self.keeping = threads.ThreadPoolExecutor(1)
  local kept = self.keeping:submit(keeper.main, self.url, self.name, bases, self.orders, self.news)
  kept:add_done_callback(function(future)
    if self.ended or future:cancelled() then return end
    self:fail(select(2, core.catch(future.result, future)) or core.Error "the keeper of leases has ended")
  end)
  self.kept = kept
  if self.threads then self.pool = threads.ThreadPoolExecutor(self.concurrency) end
end

local function close(self)
  dismiss_all(self)
  if self.keeping then self.keeping:shutdown { wait = false } end
  if self.pool then self.pool:shutdown { wait = false, cancel_futures = true } end
  self.link:close()
  local list = {}
  for task in pairs(self.tasks) do list[#list + 1] = task end
  if list[1] then tasks.wait(list) end
end

--- Works until `stop` is called; then returns. Raises what keeps it from beginning.
function Worker:run()
  local ok, err = core.catch(function()
    open(self)
    self:begin("keeper's news", serving.read_news)
    if self.pool then self:begin("threads' calls", serving.read_calls) end
    self:begin("bell", serving.hear)
    for _, queue in ipairs(self.queues) do self:begin("queue " .. queue.name, serving.look_after, queue) end
    if self.on_ready then self.on_ready(self) end
    local talk = self:begin("serving", serving.serve)
    self.stopped:wait()
    wind_up(self, talk)
    dismiss_all(self)
    say_goodbye(self)
  end)
  close(self)
  if self.failure then error(self.failure, 0) end
  if not ok then error(err, 0) end
end

--- Makes one. opts: `url`, `queues` (names), `modules` (names, which are loaded), `concurrency`, `threads`,
-- `grace`, `connect_timeout`, `log` (a function that is told sentences), `on_ready`
local function new(opts)
  local modules = {}
  for _, name in ipairs(opts.modules) do
    require(name)
    modules[name] = true
  end
  local self = setmetatable({
    url = opts.url, place = assert(link.read(opts.url, opts.connect_timeout or 10)), name = keys.worker(),
    modules = modules, concurrency = opts.concurrency or 8, threads = opts.threads, grace = opts.grace or 30,
    log = opts.log or false, on_ready = opts.on_ready, queues = {}, running = {},
    busy = 0, alone = false, lones = {}, shortest = 1000000,
    orders = core.Channel(), news = core.Channel(), calls = core.Channel(), orders_due = {}, tasks = {},
    changed = core.Event(), idle = core.Event(), stopped = core.Event(), talking = core.Lock(),
    stopping = false, failure = nil, ended = false,
  }, Worker)
  for i, name in ipairs(opts.queues or { "default" }) do
    self.queues[i] = {
      name = name, number = i, base = keys.base(name), ends = {}, hungry = true, unsure = false,
      claimed = false, look = core.Event(), due = math.huge,
    }
  end
  return self
end

return { new = new }
