--- `copas.timer`.
-- @module asyncio.compat.copas_timer
local threads = require "asyncio.compat.copas_threads"

local Timer = {}
Timer.__index = Timer

local made = 0

local function new_name()
  made = made + 1
  return "copas_timer_" .. made
end

local function pause(seconds)
  if seconds > 0 then threads.suspend(seconds) else threads.pass() end
end

local function expire(self, delay)
  if self.errorhandler then threads.set_handler(self.errorhandler, threads.running()) end
  while true do
    pause(delay)
    if self.cancelled then break end
    if not self.recurring then
      self.cancelled, self.co = true, nil
      return self:callback(self.params) -- which may arm it again
    end
    self:callback(self.params)
    if self.cancelled then break end
    delay = self.delay
  end
end

function Timer:arm(delay)
  assert(delay == nil or delay >= 0, "delay must be greater than or equal to 0")
  if self.co then return nil, "already armed" end
  self.cancelled = false
  self.co = threads.add(self.name, nil, expire, self, delay or self.delay)
  return self
end

function Timer:cancel()
  if not self.co then return nil, "not armed" end
  if self.cancelled then return nil, "already cancelled" end
  self.cancelled = true
  if threads.running() ~= self.co then threads.remove(self.co) end
  self.co = nil
  return self
end

-- A new one, armed.
function Timer.new(opts)
  assert((opts.delay or -1) >= 0, "delay must be greater than or equal to 0")
  assert(type(opts.callback) == "function", "expected callback to be a function")
  local function on_error(err)
    threads.handle(err, threads.running())
    return err
  end
  return setmetatable({
    name = opts.name or new_name(),
    delay = opts.delay,
    recurring = opts.recurring and true or false,
    params = opts.params,
    errorhandler = opts.errorhandler,
    cancelled = false,
    callback = function(self, params)
      local ok, err = xpcall(opts.callback, on_error, self, params)
      if not ok and threads.is_cancelled(err) then error(err, 0) end
    end,
  }, Timer):arm(opts.initial_delay)
end

return Timer
