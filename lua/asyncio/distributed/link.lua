--- A client that has patience: scripts are run again until Redis has answered. All of them may be.
-- @module asyncio.distributed.link
local client = require "asyncio.redis.client"
local core = require "asyncio.core"
local redis_errors = require "asyncio.redis.errors"
local redis_settings = require "asyncio.redis.settings"
local scripts = require "asyncio.distributed.scripts"

local FIRST, MOST = 0.02, 5 -- seconds between two attempts
local WORST = math.maxinteger // 1000000
local SILENCE = 10          -- seconds without a byte after which a connection that owes an answer is dead

--- What a server says that will say something else soon.
local PASSING = {
  LOADING = true, READONLY = true, MASTERDOWN = true, TRYAGAIN = true, BUSY = true, CLUSTERDOWN = true,
  UNBLOCKED = true, NOREPLICAS = true, MISCONF = true,
}

local Link = {}
Link.__index, Link.__name = Link, "asyncio.distributed.Link"

--- Whether an error may be over when one tries again.
local function is_passing(err)
  if core.isinstance(err, core.OSError) or core.isinstance(err, core.TimeoutError) then return true end
  return core.isinstance(err, redis_errors.RedisError) and (PASSING[err.code] or err.message:find "LOADING")
end

--- Seconds as Redis takes them.
local function ms(seconds) return math.min(WORST, math.ceil(seconds * 1000)) end

--- How a connection is to be made; nil and what is wrong with the URL.
local function read(url, connect_timeout)
  local ok, settings = pcall(redis_settings.read, url, {
    connect_timeout = connect_timeout, timeout = SILENCE, protocol = 2,
  })
  if ok then return settings end
  return nil, (core.words(settings):gsub("^.-bad argument #%d to 'connect' %((.*)%)$", "%1"))
end

--- Of a place; connects when it is first used.
local function open(settings)
  return setmetatable({
    settings = settings, lock = core.Lock(), client = false, functions = {}, closed = false,
  }, Link)
end

--- The client: connected, once.
function Link:get()
  if self.client then return self.client end
  local _ <close> = self.lock:acquire()
  if self.closed then error(core.ClosedError "it is shut down", 0) end
  self.client = self.client or client.new(self.settings)
  return self.client
end

local function run(self, name, base, ...)
  local made = self:get()
  local fn = self.functions[name]
  if not fn then
    fn = made:script(scripts[name])
    self.functions[name] = fn
  end
  return fn({ base }, ...)
end

local function too_late(self, err)
  if core.isinstance(err, core.ConnectionError) or core.isinstance(err, redis_errors.RedisError) then
    return err
  end
  local to = self.settings.to
  return core.ConnectionError {
    message = ("redis at %s: %s"):format(to, core.words(err)), address = to, cause = err,
  }
end

--- Calls fn(client) until Redis has answered, for so many seconds at most; then raises ConnectionError.
-- Returns what it returns, and whether it was called more than once: then something may have been done twice.
function Link:patiently(seconds, fn, ...)
  local loop, failures = core.get_running_loop(), 0
  local deadline = loop:time() + seconds
  while true do
    local ok, reply = core.pcall(fn, self, ...)
    if ok then return reply, failures > 0 end
    if not is_passing(reply) or self.closed then error(reply, 0) end
    local pause = math.min(MOST, FIRST * 2 ^ math.min(failures, 20)) * (0.5 + math.random() / 2)
    if loop:time() + pause > deadline then error(too_late(self, reply), 0) end
    failures = failures + 1
    core.sleep(pause)
  end
end

--- Runs a script so, on the queue whose keys begin with `base`.
function Link:run(seconds, name, base, ...)
  return self:patiently(seconds, run, name, base, ...)
end

function Link:close()
  self.closed = true
  if self.client then self.client:close() end
end

return { open = open, read = read, is_passing = is_passing, ms = ms }
