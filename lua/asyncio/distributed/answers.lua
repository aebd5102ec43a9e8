--- What becomes of an executor's jobs: their futures, the answers that end them, and questions after what
-- was not answered. Functions of its state, executor[1].
-- @module asyncio.distributed.answers
local core = require "asyncio.core"
local crossing = require "asyncio.distributed.crossing"
local errors = require "asyncio.distributed.errors"
local link = require "asyncio.distributed.link"
local scopes = require "asyncio.scopes"
local timeouts = require "asyncio.timeouts"

local PROBE = 4             -- seconds between two questions after the jobs
local YOUNG = 5             -- seconds for which a job is not asked after
local DOUBTED = 0.5         -- ... when Redis may have lost something
local PROBED = 500          -- jobs that one question is about, for which Redis does nothing else
local KEEP = 600            -- seconds for which answers are kept without a sign of life
local BLOCK = 5000          -- ms for which Redis keeps us waiting for answers

local answers = {}

-- Futures of jobs

--- It has been cancelled: nobody wants the job, unless another does.
local function forget(state, id, future)
  local job = state.jobs[id]
  if not job then return end
  job.futures[future] = nil
  if next(job.futures) then return end
  state.jobs[id], state.open = nil, state.open - 1
  state:cancel(id)
  state:look_for_end()
end

--- Somebody waits for a job: its future.
function answers.expect(state, id)
  local future = core.get_running_loop():create_future()
  future:_fields { job_id = id }
  local job = state.jobs[id]
  if not job then
    job = { futures = {}, since = state.loop:time() }
    state.jobs[id], state.open = job, state.open + 1
  end
  job.futures[future] = true
  future:add_done_callback(function()
    if future:cancelled() then forget(state, id, future) end
  end)
  return future
end

local ENDS = {
  d = function(future, bytes)
    local results = crossing.read_results(bytes)
    future:set_result(table.unpack(results, 1, results.n))
  end,
  f = function(future, bytes) future:set_exception(crossing.read_error(bytes)) end,
  c = function(future) future:cancel() end,
  l = function(future, _, id)
    local text = "Redis has lost the job %s: nobody knows whether it was done"
    future:set_exception(errors.JobLost(text:format(id)))
  end,
  e = function(future, _, id)
    local text = "there is no job %s: its result has expired, or it never was"
    future:set_exception(errors.ResultExpired(text:format(id)))
  end,
}
ENDS.x = ENDS.f

local function settle_future(future, what, id)
  local fill = ENDS[what:sub(1, 1)]
  local ok, err = pcall(fill, future, what:sub(2), id)
  if not ok and not future:done() then future:set_exception(err) end
end

--- A job has ended. what: a letter that says how, and its bytes
function answers.settle(state, id, what)
  if id == "" then
    if what == "room" then state.room:set() end
    return
  end
  local job = state.jobs[id]
  if not job then -- its end may be here before the answer to what asked for it, which comes another way
    if state.asking > 0 then state.early[id] = what end
    return
  end
  for future in pairs(job.futures) do
    if not future:done() then settle_future(future, what, id) end
  end
  state.jobs[id], state.open = nil, state.open - 1 -- not before: if that fails, `stop` finds its futures here
  state:look_for_end()
end

local function end_asking(state)
  state.asking = state.asking - 1
  if state.asking == 0 then state.early = {} end
end

--- For the block in which one asks for jobs' ends: those are noted that nobody waits for yet.
function answers.while_asking(state)
  state.asking = state.asking + 1
  return scopes.defer(end_asking, state)
end

--- What is known already of a job that somebody waits for now.
function answers.settle_early(state, id)
  local what = state.early[id]
  if what then answers.settle(state, id, what) end
end

-- Answers

local function read_answers(self)
  local client = self.link:get()
  local key = self.base .. "answers:" .. self.name
  local reply = client:call("XREAD", "COUNT", 1000, "BLOCK", BLOCK, "STREAMS", key, self.last)
  for _, entry in ipairs(reply and reply[1][2] or {}) do
    local fields = entry[2]
    for i = 1, #fields, 2 do answers.settle(self, fields[i], fields[i + 1]) end
    self.last = entry[1] -- not before: if that fails, it is read again
  end
end

local function hear(self)
  local function read()
    local ok, err = core.pcall(read_answers, self)
    if ok then return end
    self.doubt:set() -- Redis may have forgotten what we wait for
    error(err, 0)
  end
  while not self.stopped do self.link:patiently(math.huge, read) end
end

--- The jobs of which nothing was heard for so long.
local function to_probe(self, seconds)
  local list, at = {}, self.loop:time()
  for id, job in pairs(self.jobs) do
    if at - job.since > seconds then list[#list + 1] = id end
  end
  return list
end

--- Says that we live, and asks what has become of jobs: answers may have been lost, with all or with Redis'
-- memory.
local function probe(self, list)
  local reply = self:run(math.huge, "probe", self.name, link.ms(KEEP), self.last, table.unpack(list))
  local from, ends, at = reply[1], reply[2], self.loop:time()
  local away = at - self.heard
  if from ~= "" then self.last = from end
  self.heard = at
  for _, id in ipairs(list) do
    if self.jobs[id] then self.jobs[id].since = at end
  end
  for i = 1, #ends, 2 do
    local expired = from ~= "" and ends[i + 1] == "l" and away > self.facts.ttl / 1000
    answers.settle(self, ends[i], expired and "e" or ends[i + 1])
  end
  return from ~= ""
end

local function cancel_doubtful(self)
  while self.doubtful[1] do
    self:withdraw(self.doubtful[1], "")
    table.remove(self.doubtful, 1)
  end
end

--- Asks after all in turn; says whether Redis has forgotten us.
local function probe_all(self, list)
  local forgotten = false
  for i = 1, math.max(1, #list), PROBED do
    local part = table.move(list, i, math.min(#list, i + PROBED - 1), 1, {})
    forgotten = probe(self, part) or forgotten
  end
  return forgotten
end

local function ask_after(self)
  while not self.stopped do
    local doubted = timeouts.move_on_after(PROBE, self.doubt.wait, self.doubt)
    self.doubt:clear()
    local forgotten = probe_all(self, to_probe(self, doubted and DOUBTED or YOUNG))
    if forgotten and not doubted then self.doubt:set() end
    cancel_doubtful(self)
  end
end

--- Before the first job: where answers come must be there. What has begun when another fails, goes on.
function answers.start(self)
  if self.started then return end
  local _ <close> = self.starting:acquire()
  if self.started then return end
  if not self.hearing then
    self.last = ""
    local reply = self:run(self.patience, "probe", self.name, link.ms(KEEP), "")
    self.last, self.heard = reply[1] ~= "" and reply[1] or "0", self.loop:time()
    self.hearing = self:begin("answers of " .. self.queue, false, hear)
  end
  self:begin("jobs of " .. self.queue, false, ask_after)
  self.started = true
end

return answers
