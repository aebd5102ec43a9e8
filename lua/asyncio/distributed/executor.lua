--- DistributedExecutor: what submits jobs, and hears what has become of them.
-- @module asyncio.distributed.executor
local answers = require "asyncio.distributed.answers"
local check = require "asyncio.check"
local core = require "asyncio.core"
local crossing = require "asyncio.distributed.crossing"
local keys = require "asyncio.distributed.keys"
local link = require "asyncio.distributed.link"
local storing = require "asyncio.distributed.storing"
local tasks = require "asyncio.tasks"

local LEASE, MAX_ATTEMPTS, RESULT_TTL = 30, 3, 3600
local CONNECT_TIMEOUT = 10
local RETRY_DELAY, MAX_RETRY_DELAY = 1, 60
local MAX_SIZE = 512 * 1024 -- bytes of a call
local TURN = 500            -- jobs that are made before others have a turn

local OPTIONS = check.options {
  "DistributedExecutor", 1, { "url", "string", required = true }, { "queue", "string" },
  { "lease", "positive" }, { "max_attempts", "integer", 1, 1000 }, { "result_ttl", "positive" },
  { "max_queue", "integer", 1 }, { "connect_timeout", "positive" }, { "retries", "integer", 0, 1000000 },
  { "retry_delay", "seconds" }, { "max_retry_delay", "seconds" }, { "timeout", "positive" },
  guesses = "broker backend host=url|name queue_name=queue|visibility_timeout lock_duration=lease|"
    .. "max_tries attempts=max_attempts|max_retries=retries|ttl result_expires=result_ttl|"
    .. "maxsize max_size=max_queue|backoff=retry_delay",
}

local SUBMIT = check.options {
  "submit", 1, form = "list", { "n", "integer", 1 }, { "key", "string" }, { "delay", "seconds" },
  { "timeout", "positive" }, { "retries", "integer", 0, 1000000 },
  { "priority", "choice", "high|normal|low" },
  guesses = "id job_id task_id=key|countdown eta=delay|max_retries=retries|time_limit=timeout",
}

local SHUTDOWN = check.options {
  "shutdown", 1, { "wait", "boolean" }, { "cancel_futures", "boolean" },
}

--- Has functions of modules called by workers, on however many machines: what ThreadPoolExecutor is, beyond
-- one machine. `asyncio.distributed.DistributedExecutor` makes it.
-- @type DistributedExecutor
-- @usage
-- local function count_all(url)
--   local executor <close> = asyncio.distributed.DistributedExecutor { url = url, retries = 3 }
--   local first = executor:submit { "primes.count", 1000, priority = "high" }
--   print(first.job_id, asyncio.await(first))
--   return executor:map("primes.count", { 2000, 3000 })
-- end
local DistributedExecutor = {}
local meta = { __index = DistributedExecutor, __name = "asyncio.DistributedExecutor" }

-- What an executor is stands in a table of its own, executor[1]:
-- jobs: by id, { futures, since }; pending: what is to be stored; open: how many jobs there are

-- State: methods of executor[1]

local State = {}
State.__index = State

function State:run(seconds, name, ...)
  return self.link:run(seconds, name, self.base, ...)
end

local function follow(self, task, errand)
  self.tasks[task] = errand
  task:add_done_callback(function(ended)
    self.tasks[ended] = nil
    if not ended:cancelled() and ended:exception() ~= nil then
      self.loop:call_exception_handler {
        message = "an executor's task has failed", exception = ended:exception(),
        traceback = ended:traceback(),
      }
      if not errand then self:stop(ended:exception()) end
    end
  end)
end

-- In a task of its own. errand: it ends by itself, and the executor's end waits for it; the failure of
-- another is the executor's end, as nobody would hear of its jobs
function State:begin(name, errand, fn, a, b)
  local task = core.create_task { fn, self, a, b, name = name }
  local ok, err = pcall(follow, self, task, errand)
  if ok then return task end
  self.tasks[task] = nil
  task:cancel() -- it has not begun
  error(err, 0)
end

-- Nobody here wants a job any more. mildly: "mildly", then not if it runs
function State:withdraw(id, mildly)
  local ok, err = core.pcall(self.run, self, self.patience, "cancel", id, self.name, mildly)
  if not ok and not link.is_passing(err) then error(err, 0) end
end

function State:cancel(id)
  if self.loop:is_closed() or self.stopped then return end
  self:begin("cancel " .. id, true, self.withdraw, id, "")
end

-- It is cancelled if it has not begun.
function State:take_back(id) self:begin("cancel " .. id, true, self.withdraw, id, "mildly") end

-- The end

function State:look_for_end()
  if not self.shut or self.open > 0 then return end
  if self.ended and not self.ended:done() then self.ended:set_result() end
  if self.unwatched then self:stop() end
end

local function fail(future, err)
  if future:done() then return end
  future:set_exception(err)
  future:exception() -- nobody has to look at it
end

-- Nothing goes on any more; in a task returns once that is so. err: why, if it is no wish
function State:stop(err)
  if self.stopped then return end
  err = err or core.ClosedError "the executor was closed before its job had ended"
  self.stopped, self.shut = true, true
  if self.loop:is_closed() then return end
  for _, job in pairs(self.jobs) do -- first, as what follows may lack memory
    for future in pairs(job.futures) do fail(future, err) end
  end
  for _, item in ipairs(self.pending) do
    if not item.dropped then fail(item.stored, err) end
  end
  local list = {}
  for task in pairs(self.tasks) do
    if task ~= core.current_task() then
      task:cancel()
      list[#list + 1] = task
    end
  end
  self.jobs, self.open, self.pending = {}, 0, {}
  local ok, why = true, nil
  if core.can_wait() and list[1] then ok, why = core.catch(tasks.wait, list) end
  self.link:close()
  if not ok then error(why, 0) end
end

--- Sends what was cancelled before all ends.
local function finish_errands(self)
  repeat
    local list = {}
    for task, errand in pairs(self.tasks) do
      if errand then list[#list + 1] = task end
    end
    if list[1] then tasks.wait(list) end
  until not list[1]
end

local function wait_for_jobs(self)
  while self.open > 0 or storing.goes_on(self) do
    self.ended = self.loop:create_future()
    if self.open > 0 then core.await(self.ended) else tasks.wait { self.flushing } end
  end
  finish_errands(self)
end

-- What users call

local function state_of(executor, method)
  check.self(executor, meta, method)
  local state = executor[1]
  if state.shut then error(core.ClosedError "the executor has been shut down", 0) end
  if not state.loop or state.loop:is_closed() then
    state.loop = core.get_running_loop()
    state.room, state.doubt, state.starting = core.Event(), core.Event(), core.Lock()
    state.link = link.open(state.place)
    state.asking, state.early = 0, {}
    state.tasks, state.jobs, state.open, state.pending, state.started = {}, {}, 0, {}, false
    state.hearing, state.flushing = nil, nil
  elseif state.loop ~= core.get_running_loop() then
    check.raise "the executor is of another event loop: make one for each"
  end
  return state
end

--- The function's name, for Redis.
local function name_of(fn, n, method)
  if type(fn) == "string" then
    if not fn:find "^[^%s]+%.[^%s.]+$" or not utf8.len(fn) then
      check.error(n, method, ('"module.function" expected, got "%s"'):format(fn))
    end
    return fn
  end
  if type(fn) ~= "function" then
    check.fail_called(n, method, 'function of a module, or its name, "module.function"', fn,
      method .. "(f, x)", method .. "(f(x))")
  end
  local name = keys.name_of(fn)
  if not name then
    check.error(n, method, "a function that stands in a module that was required expected, so that workers "
      .. "find it by its name; got another (a local function, or a closure)")
  end
  return name
end

local function check_key(key)
  if key and not utf8.len(key) then check.error(1, "submit", "'key': valid UTF-8 expected") end
  if key == "" then check.error(1, "submit", "'key': it is empty") end
end

--- What is to be stored of a call.
local function make_item(state, opts, name, ...)
  check_key(opts.key)
  local call = crossing.call(name, ...)
  if #call > MAX_SIZE then
    check.raise(("the call of %s takes %d bytes, more than the %d that a job may have: leave the data where "
      .. "workers find it, and send its name"):format(name, #call, MAX_SIZE))
  end
  state.made = state.made + 1
  local id = ("%s-%d"):format(state.name, state.made)
  local facts, given, delay = {}, state.facts, link.ms(opts.delay or 0)
  for key, value in pairs(given) do facts[key] = value end
  facts.id, facts.name, facts.key, facts.to = id, name, opts.key, { state.name }
  facts.p, facts.state = opts.priority or "normal", delay > 0 and "delayed" or "queued"
  facts.retries, facts.timeout = opts.retries or facts.retries, opts.timeout or facts.timeout
  return {
    id = id, job = crossing.job(facts, call), p = facts.p, lease = facts.lease, delay = delay,
    key = opts.key or "", dropped = false, sent = false,
  }
end

--- Has a worker call a function, and returns as soon as Redis has the job; waits for room where there is
-- none. Also `submit{fn, ..., key=, delay=, timeout=, retries=, priority=}`. `key`: while a job with this key
-- waits, runs or is kept, its future is returned in place of another job's; `delay`: seconds before it may
-- begin; `timeout`: of each attempt; `retries` (0): how often it is tried again after an error or a timeout;
-- `priority`: "high", "normal" or "low". Raises ConnectionError when Redis is not there for
-- `connect_timeout`. Cancelling the future cancels the job.
-- @tparam function|string fn one that stands in a module that the workers have, too, or its name, "module.fn"
-- @param ... its arguments: nil, booleans, numbers, strings, and tables of them
-- @treturn Future its results, or its error; the field `job_id` is what `attach` takes
function DistributedExecutor:submit(fn, ...)
  local state = state_of(self, "submit")
  local item
  if type(fn) == "table" and getmetatable(fn) == nil then
    local opts = SUBMIT(fn)
    local n = opts.n or #fn
    item = make_item(state, opts, name_of(fn[1], 1, "submit"), table.unpack(fn, 2, n))
  else
    item = make_item(state, {}, name_of(fn, 1, "submit"), ...)
  end
  if not core.can_wait() then core.sleep(0) end -- which says so
  storing.enqueue(state, item)
  return storing.wait(state, item)
end

--- Cancels the futures that aren't done, and drops the errors of those that failed: the first was raised.
local function cancel_all(items)
  for _, item in ipairs(items) do
    local future = item.future
    item.dropped = true
    if future and not future:cancel() and future:_failed() then future:exception() end
  end
end

--- Calls a function with each value of a list, and waits for all. The first error is raised; the other jobs
-- are cancelled then.
-- @tparam function|string fn
-- @tparam table list `n`, if it is there, is its length
-- @treturn table the first result of each call, in order, and `n`
function DistributedExecutor:map(fn, list)
  local state = state_of(self, "map")
  local name = name_of(fn, 1, "map")
  check.table(list, 2, "map", "list")
  local items <close> = setmetatable({}, { __close = cancel_all })
  local results = { n = list.n or #list }
  if not core.can_wait() then core.sleep(0) end
  for i = 1, results.n do
    if i % TURN == 0 then core.sleep(0) end
    items[i] = make_item(state, {}, name, list[i])
  end
  state_of(self, "map") -- raises what shutting it down meanwhile has made of it
  for i = 1, results.n do storing.enqueue(state, items[i]) end
  for i = 1, results.n do storing.wait(state, items[i]) end
  for i = 1, results.n do results[i] = (core.await(items[i].future)) end
  return results
end

--- A future of a job that was submitted elsewhere, or in a former life of this program.
-- @string id its `job_id`
-- @treturn Future has the error ResultExpired when there is no such job any more
function DistributedExecutor:attach(id)
  local state = state_of(self, "attach")
  if type(id) ~= "string" then check.fail(1, "attach", "id of a job (a string)", id) end
  answers.start(state)
  local future = answers.expect(state, id)
  local ok, reply = core.catch(state.run, state, state.patience, "attach", id, state.name)
  if not ok then
    future:cancel()
    error(reply, 0)
  end
  if reply == 0 then answers.settle(state, id, "e") end
  return future
end

--- How many jobs of the queue are where, and workers: `queued`, `delayed`, `running`, `dead`; `done` and
-- `failed` so far; `workers` that were heard of.
-- @treturn table
function DistributedExecutor:stats()
  local state = state_of(self, "stats")
  local r = state:run(state.patience, "stats")
  return {
    queued = r[1], delayed = r[2], running = r[3], dead = r[4], done = r[5], failed = r[6], workers = r[7],
    cancelled = r[8],
  }
end

--- Cancels what has not begun; what is being stored follows as soon as it is.
local function cancel_waiting(state)
  state.takes_back = true
  for _, item in ipairs(state.pending) do
    item.dropped = true
    fail(item.stored, core.ClosedError "the executor was shut down before its job was stored")
  end
  local list = {}
  for id in pairs(state.jobs) do list[#list + 1] = id end
  for _, id in ipairs(list) do state:take_back(id) end
end

--- Takes no job any more, and waits for those of this executor, not for the queue.
-- @tparam[opt] table opts `wait` (true): until its futures are done; `cancel_futures` (false): cancel what
-- has not begun
function DistributedExecutor:shutdown(opts)
  check.self(self, meta, "shutdown")
  opts = SHUTDOWN(opts)
  local state = self[1]
  if state.stopped then return end
  state.shut = true
  if not state.loop or state.loop:is_closed() then
    state.stopped = true
    return
  end
  if opts.cancel_futures then cancel_waiting(state) end
  if opts.wait == false or not core.can_wait() then
    state.unwatched = true
    return state:look_for_end()
  end
  local ok, err = core.catch(wait_for_jobs, state)
  state:stop()
  if not ok then error(err, 0) end
end

--- Leaving the block waits for its jobs.
function meta:__close()
  if core.can_wait() then return self:shutdown() end
  self[1]:stop()
end

function meta:__tostring()
  local state = self[1]
  return ("asyncio.DistributedExecutor: queue '%s' at %s, %d job%s%s"):format(state.queue, state.place.to,
    state.open, state.open == 1 and "" or "s", state.shut and ", shut down" or "")
end

--- For `Loop:run_in_executor`.
function meta:__submit(fn, ...) return DistributedExecutor.submit(self, fn, ...) end

local function check_url(opts)
  local place, why = link.read(opts.url, opts.connect_timeout or CONNECT_TIMEOUT)
  return place or check.error(1, "DistributedExecutor", "'url': " .. why)
end

local function check_queue(queue)
  if queue == "" or queue:find "[%c{}%s]" or not utf8.len(queue) then
    local text = "'queue': a name without spaces and braces expected, got %q"
    check.error(1, "DistributedExecutor", text:format(queue))
  end
end

--- Makes one; it connects with its first job.
-- @tparam table opts `url`: of a Redis from 6.2 on, as `asyncio.redis.connect` takes it; `queue` ("default");
-- `lease` (30): seconds without a sign of life after which a worker is taken for dead, and another runs its
-- job; `max_attempts` (3): how many workers may die, or stall, over a job; `result_ttl` (3600): seconds for
-- which results are kept; `max_queue` (none): how many jobs the queue may have, running ones included, before
-- `submit` waits; `connect_timeout` (10): seconds for which `submit` waits for Redis; `retries` (0),
-- `timeout` (none): of jobs that don't say; `retry_delay` (1), `max_retry_delay` (60): seconds, at most,
-- before the first retry, doubled for each further one, and the most. These settings travel with each job.
-- @treturn DistributedExecutor
-- @function distributed.DistributedExecutor
local function new(opts)
  if type(opts) ~= "table" then
    check.fail(1, "DistributedExecutor", "table of options", opts, ": write DistributedExecutor{url=...}")
  end
  opts = OPTIONS(opts)
  local place, queue = check_url(opts), opts.queue or "default"
  check_queue(queue)
  local state = setmetatable({
    place = place, queue = queue, base = keys.base(queue), name = keys.random(),
    patience = place.connect_timeout, max_queue = opts.max_queue, made = 0,
    doubtful = {}, tasks = {}, jobs = {}, open = 0, pending = {},
    loop = false, started = false, shut = false, stopped = false, unwatched = false, takes_back = false,
    last = "", heard = 0,
    facts = {
      lease = link.ms(opts.lease or LEASE), most = opts.max_attempts or MAX_ATTEMPTS,
      ttl = link.ms(opts.result_ttl or RESULT_TTL), retries = opts.retries or 0, timeout = opts.timeout,
      pause = link.ms(opts.retry_delay or RETRY_DELAY),
      cap = link.ms(opts.max_retry_delay or MAX_RETRY_DELAY),
    },
  }, State)
  return setmetatable({ state }, meta)
end

return { DistributedExecutor = new, methods = DistributedExecutor, class = meta }
