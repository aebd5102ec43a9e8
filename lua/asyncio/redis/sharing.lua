--- The connections of a client: one that all its tasks share, and a pool for what needs one of its own.
--
-- Nobody connects while nobody wants to send: the shared one is made anew, in a task of its own, when it was
-- lost and somebody waits for it.
-- @module asyncio.redis.sharing
local check = require "asyncio.check"
local connection = require "asyncio.redis.connection"
local core = require "asyncio.core"
local opening = require "asyncio.redis.opening"
local Pool = require "asyncio.pool".Pool
local scopes = require "asyncio.scopes"
local tasks = require "asyncio.tasks"
local timeouts = require "asyncio.timeouts"

local IDLE = 60 -- seconds after which a connection of the pool that nobody uses is closed

local Sharing = {}
Sharing.__index, Sharing.__name = Sharing, "asyncio.redis.Sharing"

local function raise_closed() error(core.ClosedError "the client is closed", 0) end

local function check_usable(sharing)
  if sharing.closed then raise_closed() end
  if sharing.loop ~= core.get_running_loop() then
    check.raise "the client is of another event loop: each loop connects its own"
  end
end

--- Why nobody got a connection in time.
local function late(sharing)
  return function()
    local why = sharing.failure and ": " .. core.words(sharing.failure) or ""
    return core.TimeoutError {
      phase = "connect", cause = sharing.failure,
      message = ("no connection to redis at %s after %.14g s%s"):format(sharing.settings.to,
        sharing.settings.connect_timeout, why),
    }
  end
end

--- Connects, again and again while `wanted()`; nil when it isn't any more.
local function open_patiently(sharing, wanted, on_lost)
  local pauses, loop = sharing.pauses, sharing.loop
  while true do
    opening.wait(pauses, loop:time())
    if not wanted() then return nil end
    local ok, conn = core.pcall(connection.open, sharing.settings, on_lost)
    if ok then
      sharing.links[conn] = conn.lose
      return conn
    end
    if not core.isinstance(conn, core.OSError) and not core.isinstance(conn, core.TimeoutError) then
      error(conn, 0) -- it was there, and has refused us
    end
    sharing.failure = conn
    opening.failed(pauses, loop:time())
  end
end

-- The shared one

--- What the shared connection tells when it has gone.
local function on_lost_of(sharing)
  return function(conn)
    opening.lost(sharing.pauses, conn.useful, conn.since, conn.loop:time())
    if sharing.shared == conn then
      sharing.shared = false
      sharing.changed:clear()
    end
  end
end

local function wanted_of(sharing)
  return function() return sharing.waiting > 0 and not sharing.closed end
end

--- The task that connects anew: hands over what came of it.
local function connect(sharing)
  local ok, conn = core.catch(open_patiently, sharing, sharing.wanted, sharing.on_lost)
  sharing.connecting = false
  if ok and conn and sharing.closed then return conn:lose "the client was closed" end
  sharing.shared, sharing.refusal = ok and conn or false, not ok and conn or nil
  if not ok or conn then sharing.changed:set() end
  if not ok and core.isinstance(conn, core.CancelledError) then error(conn, 0) end
end

local function leave(sharing) sharing.waiting = sharing.waiting - 1 end

local function wait(sharing)
  local _ <close> = scopes.defer(leave, sharing)
  sharing.waiting = sharing.waiting + 1
  while not sharing.shared do
    if not sharing.connecting or sharing.connecting:done() then
      sharing.refusal = nil
      sharing.changed:clear()
      sharing.connecting = core.create_task { connect, sharing, name = "redis " .. sharing.settings.to }
    end
    sharing.changed:wait()
    if sharing.closed then raise_closed() end
    if sharing.refusal then error(sharing.refusal, 0) end
  end
  return sharing.shared
end

--- The shared connection; waits for it, `connect_timeout` at most.
local function shared(sharing)
  check_usable(sharing)
  local conn = sharing.shared
  if conn then return conn end
  return timeouts._within(sharing.settings.connect_timeout, late(sharing), wait, sharing)
end

--- Calls `ask(conn, ...)` on the shared connection until something was sent; the reply.
function Sharing:exchange(ask, ...)
  local sent, reply = ask(self.shared or shared(self), ...)
  while not sent do sent, reply = ask(shared(self), ...) end
  return reply
end

-- The pool

--- A connection of one's own for the block: `local lease <close> = sharing:lease()`; lease.value
function Sharing:lease()
  check_usable(self)
  return self.pool:acquire()
end

local function close_leased(conn) conn:close "it was given up" end

local function is_good(conn) return not conn.lost end

--- For the pool, in the task that wants it.
local function open_leased(sharing)
  local function wanted()
    if sharing.closed then raise_closed() end
    return true
  end
  return timeouts._within(sharing.settings.connect_timeout, late(sharing), open_patiently, sharing, wanted)
end

--- A client's connections: the first is opened; raises what goes wrong.
local function open(settings)
  local self = setmetatable({
    settings = settings, loop = core.get_running_loop(), pauses = opening.pauses(), changed = core.Event(),
    waiting = 0, closed = false, connecting = false, shared = false,
    links = setmetatable({}, { __mode = "k" }), -- connection or subscription → what makes it useless
  }, Sharing)
  self.pool = Pool {
    create = function() return open_leased(self) end, destroy = close_leased, check = is_good,
    max = settings.max_connections, idle_timeout = IDLE,
  }
  self.on_lost, self.wanted = on_lost_of(self), wanted_of(self)
  self.shared = connection.open(settings, self.on_lost)
  self.links[self.shared] = self.shared.lose
  return self
end

local CLOSED = "the client was closed"

--- In a task: returns once all have ended.
local function wait_for_end(sharing)
  if sharing.connecting then tasks.wait { sharing.connecting } end
  for _, link in ipairs(sharing.ending) do link:close(CLOSED) end
  sharing.pool:shutdown()
end

--- Ends all of them, at once.
function Sharing:close()
  if self.closed then return end
  self.closed, self.ending = true, {}
  for link in pairs(self.links) do self.ending[#self.ending + 1] = link end
  for _, link in ipairs(self.ending) do self.links[link](link, CLOSED) end
  self.changed:set()
  if self.loop:is_closed() then return end
  if self.connecting then self.connecting:cancel() end
  if core.can_wait() then wait_for_end(self) else self.pool:shutdown() end
end

return { open = open }
