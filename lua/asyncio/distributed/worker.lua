--- A worker: takes jobs of its queues, as many as it has room for, runs them, and says how they have ended.
--
-- One task talks with Redis, for all queues in turn (`serve`): what has ended meanwhile and what is taken go
-- in one script. Others hear the bell, look for what is due or was left behind, and listen to the keeper.
-- @module asyncio.distributed.worker
local core = require "asyncio.core"
local crossing = require "asyncio.distributed.crossing"
local job_of = require "asyncio.distributed.job"
local keeper = require "asyncio.distributed.keeper"
local keys = require "asyncio.distributed.keys"
local link = require "asyncio.distributed.link"
local tasks = require "asyncio.tasks"
local threads = require "asyncio.threads"
local timeouts = require "asyncio.timeouts"

local MAX_RESULT = 512 * 1024 -- bytes
local BATCH = 100     -- ends that one script is told
local PAUSE = 5       -- seconds between two looks for what was left behind, at most; and for the bell
local QUICKEST = 0.05 -- ... and at least
local CLOSER = 1000   -- ms without a renewal from which on a job is looked at closely
local STUBBORN = 5    -- seconds that a job has which was asked to end
local BEGINNING = 1   -- seconds in which a thread has said that it begins
local FAREWELL = 5    -- seconds for the last words

local Worker = {}
Worker.__index, Worker.__name = Worker, "asyncio.distributed.Worker"

local function forever(self, name, queue, ...)
  return self.link:run(math.huge, name, queue.base, ...)
end

--- How many more jobs it may have.
local function room(self)
  if self.stopping or self.alone then return 0 end
  return self.concurrency - self.busy
end

local function log(self, ...)
  if self.log then self.log(string.format(...)) end
end

-- How a job ends

local function note_order(self, order)
  self.orders_due[#self.orders_due + 1] = order
end

local function send_orders(self)
  if not self.orders_due[1] then return end
  self.orders:put(self.orders_due)
  self.orders_due = {}
end

--- It has no place any more.
local function free(self, job)
  if self.running[job.place] ~= job then return end
  self.running[job.place] = nil
  self.busy = self.busy - 1
  for i, lone in ipairs(self.lones) do
    if lone == job then
      table.remove(self.lones, i)
      break
    end
  end
  self.alone = self.lones[1] or false
  note_order(self, { drop = job.place, queue = job.queue.number })
  self.changed:set()
end

local function say(self, job, what, result, wait)
  if job.lost then return end
  job.lost = true -- it is said once
  local ends = job.queue.ends
  ends[#ends + 1] = { job.p, job.entry, job.count, job.id, what, result or "", wait or 0 }
  self.changed:set()
end

--- ms before the next attempt: exponential, and anything from none to that.
local function pause_of(facts)
  local most = math.min(facts.cap or 60000, (facts.pause or 1000) * 2.0 ^ math.min(facts.tries or 0, 50))
  return math.floor(most * math.random())
end

local function fail(self, job, err, traceback, for_good)
  local facts = job.facts
  local bytes = crossing.error(err, traceback)
  local again = not for_good and (facts.tries or 0) < (facts.retries or 0)
  log(self, "%s %s, attempt %d: %s%s", job.id, facts.name, job.attempt, core.words(err),
    again and "; it is tried again" or "")
  if again then return say(self, job, "retry", bytes, pause_of(facts)) end
  say(self, job, "failed", bytes)
end

--- Its task has ended.
local function conclude(self, job, task)
  if task:cancelled() then
    if job.cancelled then return say(self, job, "cancelled") end
    if job.given_up or self.stopping then return say(self, job, "back") end
    return fail(self, job, core.Error "the job has cancelled itself", nil, true)
  end
  local err, failed = task:exception()
  if failed then return fail(self, job, err, task:traceback(), job.hopeless) end
  say(self, job, "done", (task:result()))
end

--- Whether a thread goes on with it: then it keeps its place. What was cancelled before it began never will.
local function goes_on(self, job)
  if not (job.future and job.future:cancelled()) or job.has_left then return false end
  if not job.has_begun then
    core.get_running_loop():call_later(BEGINNING, function()
      if not job.has_begun then free(self, job) end
    end)
  end
  return true
end

local function on_end(self, job, task)
  local ok, err = core.catch(conclude, self, job, task)
  if not ok then say(self, job, "failed", crossing.error(err)) end
  if not goes_on(self, job) then free(self, job) end
end

-- Running

local function late(job)
  return function()
    return core.TimeoutError(("attempt %d of %s took longer than its timeout, %.14g s"):format(job.attempt,
      job.facts.name, job.facts.timeout))
  end
end

local function hands_of(self, job)
  local words = { self.name, job.p, job.entry, job.count, job.id }
  local function ask(name, ...)
    local list = table.move(words, 1, 5, 1, {})
    table.move({ ... }, 1, select("#", ...), 6, list)
    return (forever(self, name, job.queue, table.unpack(list)))
  end
  return {
    cancelled = function() return job.cancelled or job.given_up or job.said_lost or false end,
    begin = function(key)
      job.onces = job.onces + 1
      local reply = ask("once", key, ("%d.%d"):format(job.attempt, job.onces))
      return reply[1], reply[2]
    end,
    keep = function(key, results) return ask("keep", key, "", results) == 1 end,
  }
end

local function call_here(self, job)
  job_of.enter(job_of.new(job.id, job.attempt, job.hands))
  job.hopeless = true -- what does not parse, or has no function, won't have one next time
  local name, arguments = crossing.read_call(job.call)
  local fn = job_of.resolve(self.modules, name)
  job.hopeless = false
  return crossing.results(fn(table.unpack(arguments, 1, arguments.n)))
end

local function call_on_thread(self, job)
  job.hopeless = true
  job_of.resolve(self.modules, (crossing.read_call(job.call)))
  job.hopeless = false
  job.future = self.pool:submit(job_of.on_thread, self.calls, job.place, job.id, job.attempt, self.modules,
    job.call)
  return core.await(job.future)
end

local function run(self, job)
  local call = self.pool and call_on_thread or call_here
  local bytes
  if job.facts.timeout then
    bytes = timeouts._within(job.facts.timeout, late(job), call, self, job)
  else
    bytes = call(self, job)
  end
  if #bytes > MAX_RESULT then
    error(core.Error(("its results take %d bytes, more than the %d that a job may have: leave the data "
      .. "elsewhere, and return its name"):format(#bytes, MAX_RESULT)), 0)
  end
  return bytes
end

local function start(self, job)
  job.attempt = (job.facts.base or 0) + job.count
  job.hands = hands_of(self, job)
  job.task = core.create_task { run, self, job, name = "job " .. job.id }
  job.task:add_done_callback(function(task) on_end(self, job, task) end)
end

--- A Redis that went back to what it had saved may give what runs here once more. As the same delivery it is
-- this worker's all the same, and goes on; else what runs is nobody's any more.
local function has_already(self, place, count)
  local job = self.running[place]
  if not job then return false end
  if job.count == count and not (job.lost or job.cancelled or job.given_up) then return true end
  job.lost, job.said_lost = true, true
  if job.task then job.task:cancel() end
  free(self, job)
  return false
end

--- A job that was taken: it has a place, and its lease is kept.
local function admit(self, queue, p, entry, count, id, bytes, since)
  local place = queue.number .. p .. entry
  if has_already(self, place, count) then return nil end
  local job = {
    queue = queue, p = p, entry = entry, count = count, id = id, place = place,
    lost = false, cancelled = false, given_up = false, hopeless = false, future = false, has_begun = false,
    has_left = false, onces = 0,
  }
  local ok, facts, call = pcall(crossing.read_job, bytes)
  job.facts, job.call = ok and facts or { name = "?" }, call
  self.running[job.place], self.busy = job, self.busy + 1
  local lease = (tonumber(job.facts.lease) or 30000) / 1000
  self.shortest = math.min(self.shortest, lease)
  note_order(self, {
    place = job.place, queue = queue.number, p = p, entry = entry, count = count, id = id, lease = lease,
    renewed = since,
  })
  if ok then return job end
  log(self, "%s is no job of a version that is known here: %s", id, core.words(facts))
  say(self, job, "dead", crossing.error(core.Error("the job does not parse: " .. core.words(facts))))
  free(self, job)
  return nil
end

--- One that is to run alone, once the others have ended.
local function start_alone(self, job)
  job.beginning = true
  local count = forever(self, "begin", job.queue, self.name, job.p, job.entry, job.count, job.id)
  job.beginning = false
  if count == 0 or job.said_lost then
    job.lost = true
    return free(self, job)
  end
  job.count = count
  if job.cancelled or job.given_up then
    say(self, job, job.cancelled and "cancelled" or "back")
    return free(self, job)
  end
  note_order(self, {
    place = job.place, queue = job.queue.number, p = job.p, entry = job.entry, count = count, id = job.id,
    lease = job.facts.lease / 1000, renewed = core.time(),
  })
  start(self, job)
end

-- Talking with Redis

local function turn(self, queue)
  local _ <close> = self.talking:acquire()
  local most, since = room(self), core.time()
  local ends = table.move(queue.ends, 1, math.min(#queue.ends, BATCH), 1, {})
  local words = { self.name, most, #ends }
  for i, said in ipairs(ends) do table.move(said, 1, 7, 4 + (i - 1) * 7, words) end
  local reply, again = forever(self, "turn", queue, table.unpack(words))
  table.move(queue.ends, #ends + 1, #queue.ends + #ends, 1) -- those that came meanwhile, too
  queue.unsure = queue.unsure or again
  for i, heard in ipairs(reply[1]) do
    if heard == 0 and not again then
      log(self, "%s is another's by now: its end was not heard", ends[i][4])
    end
  end
  local taken = reply[2]
  queue.hungry = reply[3] == 1
  for i = 1, #taken, 5 do
    local job = admit(self, queue, taken[i], taken[i + 1], taken[i + 2], taken[i + 3], taken[i + 4], since)
    if job then start(self, job) end
  end
  send_orders(self)
end

--- Whether there is something to say, or to ask.
local function has_business(self, queue) return queue.ends[1] or queue.hungry and room(self) > 0 end

--- All has been said that there is to say.
local function is_idle(self)
  if self.busy > 0 then return false end
  for _, queue in ipairs(self.queues) do
    if queue.ends[1] then return false end
  end
  return true
end

local function serve(self)
  local first = 0
  while not (self.stopping and is_idle(self)) do
    self.changed:clear()
    local worked = false
    for i = 1, #self.queues do -- each of them is first in its turn
      local queue = self.queues[(first + i) % #self.queues + 1]
      if has_business(self, queue) then
        turn(self, queue)
        worked = true
      end
    end
    first = first + 1
    local lone = self.alone
    if lone and not lone.task and self.busy == #self.lones then
      start_alone(self, lone)
      worked = true
    end
    send_orders(self)
    if not worked then
      self.idle:set()
      self.changed:wait()
    end
  end
end

-- The bell

local function read_bell(self)
  local words = {}
  for i, queue in ipairs(self.queues) do words[i] = queue.base .. "bell" end
  words[#words + 1] = PAUSE
  local reply = self.link:get():call("BZPOPMIN", table.unpack(words))
  for _, queue in ipairs(self.queues) do
    if not reply then -- what was never rung for
      queue.hungry = true
    elseif reply[1] == queue.base .. "bell" then
      if reply[2] == "delay" then queue.look:set() else queue.hungry = true end
      if room(self) <= 0 then -- it was for another, then
        self.link:run(math.huge, "ring", queue.base, reply[2])
        queue.hungry = true
      end
    end
  end
  self.changed:set()
end

local function is_listening(self)
  if room(self) <= 0 then return false end
  for _, queue in ipairs(self.queues) do
    if queue.hungry then return false end
  end
  return true
end

--- Idle workers hear the bell, one each time it is rung.
local function hear(self)
  while true do
    while not is_listening(self) do
      self.idle:clear()
      self.idle:wait()
    end
    self.link:patiently(math.huge, function() read_bell(self) end)
  end
end

-- What was left behind, and what is due

local function claim(self, queue)
  local _ <close> = self.talking:acquire()
  local since, words = core.time(), {
    self.name, queue.claimed and math.ceil(math.min(CLOSER, self.shortest * 1000)) or 0, room(self),
    (not self.stopping and not self.alone) and 1 or 0, queue.unsure and 1 or 0,
  }
  for _, job in pairs(self.running) do
    if job.queue == queue then words[#words + 1] = job.p .. job.entry end
  end
  for _, said in ipairs(queue.ends) do words[#words + 1] = said[1] .. said[2] end
  local reply, again = forever(self, "claim", queue, table.unpack(words))
  queue.unsure, queue.claimed = again, true -- the first time one looks at all, and learns their leases
  if reply[2] > 0 then self.shortest = math.min(self.shortest, reply[2] / 1000) end
  local taken = reply[1]
  for i = 1, #taken, 6 do
    local job = admit(self, queue, taken[i], taken[i + 1], taken[i + 2], taken[i + 3], taken[i + 4], since)
    if job and taken[i + 5] == "alone" then
      table.insert(self.lones, job)
      self.alone = self.lones[1]
      self.changed:set()
    elseif job then
      start(self, job)
    end
  end
  send_orders(self)
end

local function due(self, queue)
  local ms = forever(self, "due", queue)
  queue.due = ms >= 0 and core.time() + ms / 1000 or math.huge
end

--- Between two looks for what was left behind.
local function pause(self) return math.max(QUICKEST, math.min(PAUSE, self.shortest / 3)) end

local function look_after(self, queue)
  local claimed = -math.huge
  while true do
    queue.look:clear()
    if core.time() >= claimed + pause(self) * (0.8 + 0.2 * math.random()) then
      claim(self, queue)
      claimed = core.time()
    end
    due(self, queue)
    local rest = math.min(pause(self), queue.due - core.time())
    timeouts.move_on_after(math.max(0.001, rest), queue.look.wait, queue.look)
  end
end

-- The keeper's news, and the threads' calls

local NEWS = {
  cancel = function(job) job.cancelled = true end,
  late = function(job) job.given_up = true end,
  lost = function(job) job.lost, job.said_lost = true, true end,
}

local function read_news(self)
  for _, item in self.news:iter() do
    local job = self.running[item.place]
    if job then
      NEWS[item.what](job)
      log(self, "%s %s: %s", job.id, job.facts.name, item.what)
      if job.task then
        job.task:cancel()
      elseif not job.beginning then -- reserved; start_alone looks, once it begins
        if item.what ~= "lost" then say(self, job, item.what == "cancel" and "cancelled" or "back") end
        free(self, job)
      end
    end
  end
end

local function answer_call(_, job, message)
  local hands = job.hands
  if message.what == "begin" then
    message.answer:put { hands.begin(message.key) }
  else
    message.answer:put { hands.keep(message.key, message.results) }
  end
end

local function read_calls(self)
  for _, message in self.calls:iter() do
    local job = self.running[message.place]
    if message.what == "begun" then
      if job then job.has_begun = true end
    elseif message.what == "left" then
      if job then
        job.has_left = true
        if job.task:done() then free(self, job) end
      end
    elseif job and not job.task:done() then
      self:begin("once", answer_call, job, message)
    else
      message.answer:put { "lost" }
    end
  end
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
    if job.task then job.task:cancel() elseif not job.lost then say(self, job, "back") end
  end
end

--- What goes on all the same is another's from now on.
local function give_back_all(self)
  for _, job in pairs(self.running) do
    say(self, job, "back")
    free(self, job)
  end
end

local function wait_until_idle(seconds, serving)
  if serving:done() then return true end
  tasks.wait({ serving }, { timeout = seconds })
  return serving:done()
end

--- Ends the jobs: they have `grace`, then they are cancelled and given back.
local function wind_up(self, serving)
  if wait_until_idle(self.failure and 0 or self.grace, serving) then return end
  ask_to_end(self)
  if wait_until_idle(STUBBORN, serving) then return end
  give_back_all(self)
  if wait_until_idle(FAREWELL, serving) then return end
  serving:cancel()
  local unsaid = 0
  for _, queue in ipairs(self.queues) do unsaid = unsaid + #queue.ends end
  log(self, "redis at %s does not hear how %d job%s ended: others run what is not done", self.place.to,
    unsaid, unsaid == 1 and "" or "s")
end

local function leave_all(self)
  for _, queue in ipairs(self.queues) do self.link:run(FAREWELL, "leave", queue.base, self.name) end
end

--- What cannot be said is no failure: others see that it is not heard of.
local function say_goodbye(self)
  local ok, what = core.pcall(timeouts.move_on_after, FAREWELL, leave_all, self)
  if ok and what then return end
  if not ok and not link.is_passing(what) then error(what, 0) end
  log(self, "redis at %s is away: it leaves without a farewell", self.place.to)
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
    log(self, "redis at %s may throw jobs away when its memory is full: set maxmemory-policy noeviction",
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
  self.ended = true
  for task in pairs(self.tasks) do task:cancel() end
  self.orders:close()
  if self.kept then tasks.wait({ self.kept }, { timeout = FAREWELL }) end
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
    self:begin("keeper's news", read_news)
    if self.pool then self:begin("threads' calls", read_calls) end
    self:begin("bell", hear)
    for _, queue in ipairs(self.queues) do self:begin("queue " .. queue.name, look_after, queue) end
    if self.on_ready then self.on_ready(self) end
    local serving = self:begin("serving", serve)
    self.stopped:wait()
    wind_up(self, serving)
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
