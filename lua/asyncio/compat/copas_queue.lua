--- `copas.queue`.
-- @module asyncio.compat.copas_queue
local Lock = require "asyncio.compat.copas_lock"
local Semaphore = require "asyncio.compat.copas_semaphore"
local line = require "asyncio.compat.copas_line"
local threads = require "asyncio.compat.copas_threads"
local standard = require("asyncio.compat.standard").coroutine
local socket = require "asyncio.socket"

local Queue = {}
Queue.__index = Queue

local MANY = 10 ^ 9
local made = 0

local function new_name()
  made = made + 1
  return "copas_queue_" .. made
end

function Queue.new(opts)
  return setmetatable({
    name = opts and opts.name or new_name(),
    sema = Semaphore.new(MANY), exit_semaphore = Semaphore.new(MANY),
    head = 1, tail = 1, list = {}, -- `head`: where the next is put
    workers = setmetatable({}, { __mode = "k" }), worker_id = 0,
    stopping = false,
  }, Queue)
end

function Queue:push(item)
  if self.stopping then return nil, "stopping" end
  self.list[self.head] = item
  self.head = self.head + 1
  self.sema:give()
  return true
end

function Queue:pop(timeout)
  local ok, err = self.sema:take(1, timeout)
  if not ok then return ok, err end
  local item = self.list[self.tail]
  self.list[self.tail] = nil
  self.tail = self.tail + 1
  if self.tail == self.head then
    self.list, self.tail, self.head = {}, 1, 1
    if self.stopping then self:destroy() end
  end
  return item
end

function Queue:get_size() return self.head - self.tail end

-- No more can be put; it is destroyed once it is empty.
function Queue:stop()
  if self.stopping then return true end
  self.stopping = true
  self.lock = Lock.new(nil, true)
  self.lock:get()
  if self:get_size() == 0 then self:destroy() end
  return true
end

--- Until its workers have ended.
local function wait_for_workers(self, deadline)
  while next(self.workers) do
    local _, err = self.exit_semaphore:take(1, math.max(0, deadline - socket.gettime()))
    if err == "destroyed" then return true end
    if err == "timeout" then return false end
  end
  return true
end

function Queue:finish(timeout, no_destroy_on_timeout)
  self:stop()
  local lock = self.lock
  timeout = timeout or rawget(lock, "timeout")
  local deadline = socket.gettime() + timeout
  local _, err = lock:get(timeout)
  if err ~= "timeout" and wait_for_workers(self, deadline) then
    if next(self.workers) == nil and not self.exit_semaphore.destroyed then self.exit_semaphore:destroy() end
    return true
  end
  if not no_destroy_on_timeout then self:destroy() end
  return nil, "timeout"
end

function Queue:destroy()
  if self.lock then self.lock:destroy() end
  self.sema:destroy()
  self.list = {}
  line.destroy(self)
  return true
end

local function work(self, worker)
  local pop = Queue.pop
  while self.destroyed ~= true do
    local item, err = pop(self, math.huge)
    if err then break end
    worker(item)
  end
end

-- A thread that calls the function with each item.
function Queue:add_worker(worker)
  assert(type(worker) == "function", "expected worker to be a function")
  self.worker_id = self.worker_id + 1
  local workers, exits, co = self.workers, self.exit_semaphore, nil
  co = threads.add(("%s:worker_%d"):format(self.name, self.worker_id), nil, function()
    local _ <close> = setmetatable({}, { __close = function()
      workers[co] = nil
      if not exits.destroyed then exits:give(1) end
    end })
    work(self, worker)
  end)
  workers[co] = true
  return co
end

function Queue:get_workers()
  local list = {}
  for co in pairs(self.workers) do
    if standard.status(co) ~= "dead" then list[#list + 1] = co end
  end
  return list
end

return Queue
