--- Subscriptions: a connection of their own, and the messages that come on it.
--
-- There is no task that reads: who asks for the next message does. What has come and was not asked for stays
-- with the kernel, and then with the server.
-- @module asyncio.redis.subscription
local check = require "asyncio.check"
local core = require "asyncio.core"
local errors = require "asyncio.redis.errors"
local grammar = require "asyncio.grammar"
local opening = require "asyncio.redis.opening"
local scopes = require "asyncio.scopes"
local timeouts = require "asyncio.timeouts"

local BLOCK = 65536 -- bytes that are read at once

local PING = grammar.resp_encode "PING"

--- A subscription; `RedisClient:subscribe` makes it. It is called for the next event.
-- @type RedisSubscription
-- @usage
-- local function show(client)
--   for kind, channel, data in client:subscribe { channels = { "news" }, patterns = { "weather.*" } } do
--     if kind == "reconnected" then print "something may have been missed" else print(channel, data) end
--   end
-- end
local RedisSubscription = {}
local meta = { __index = RedisSubscription, __name = "asyncio.RedisSubscription" }

local CONFIRMS = { subscribe = true, psubscribe = true }

--- A message of the server's, which is a push, or a list where it speaks the second version: what kind it is.
local function kind_of(list)
  local kind = type(list) == "table" and not getmetatable(list) and list[1]
  return type(kind) == "string" and kind or nil
end

local function wrong(link, what, where)
  local text = ("what it said is not its protocol: %s (byte %d)"):format(what, where)
  error(opening.failure(link.settings, text), 0)
end

--- The next that the server says; nil: nothing has come.
local function parse(link)
  local kind, value, where = link.parser:next()
  if kind == "error" then wrong(link, value, where) end
  if kind == "reply" then errors.raise(value) end
  return kind and (value == nil and false or value)
end

local function say(link)
  while true do
    local said = parse(link)
    if said ~= nil then return said end
    local data = link.reader:read(BLOCK)
    if not data then error(opening.failure(link.settings, "it closed the connection"), 0) end
    link.parser:feed(data)
  end
end

--- Subscribes; what comes before that is confirmed is kept.
local function confirm(link, sub)
  link.writer:write(sub.bytes)
  local early, missing = {}, sub.wanted
  while missing > 0 do
    local said = say(link)
    local kind = kind_of(said)
    if CONFIRMS[kind] then missing = missing - 1 elseif kind then early[#early + 1] = said end
  end
  sub.early, sub.at = early, 1
end

local function begin(sub)
  local settings = sub.settings
  local link = opening.open(settings, settings.timeout)
  local function late()
    return core.TimeoutError(("no confirmation of a subscription from redis at %s after %.14g s"):format(
      settings.to, settings.connect_timeout))
  end
  local ok, err = core.catch(timeouts._within, settings.connect_timeout, late, confirm, link, sub)
  if not ok then
    link.writer:abort()
    error(err, 0)
  end
  if sub.closed then return link.writer:abort() end
  sub.link, sub.since, sub.asked = link, sub.loop:time(), false
end

--- Connects again, however long that takes.
local function begin_again(sub)
  while not sub.closed do
    opening.wait(sub.pauses, sub.loop:time())
    if sub.closed then return end
    local ok, err = core.pcall(begin, sub)
    if ok then return end
    if not core.isinstance(err, core.OSError) and not core.isinstance(err, core.TimeoutError) then
      error(err, 0)
    end
    opening.failed(sub.pauses, sub.loop:time())
  end
end

local function lose(sub)
  if not sub.link then return end
  sub.link.writer:abort()
  sub.link = false
  opening.lost(sub.pauses, false, sub.since, sub.loop:time())
end

--- The server is silent: asked once, it has to say something. False: it didn't.
local function ask_whether_alive(sub)
  if sub.asked then return false end
  sub.asked = true
  return (pcall(sub.link.writer.write, sub.link.writer, PING))
end

--- Takes more from the server. False: the connection has gone.
local function take(sub)
  local link = sub.link
  local ok, data = core.pcall(link.reader.read, link.reader, BLOCK)
  if sub.closed then return false end
  if not ok then return core.isinstance(data, core.TimeoutError) and ask_whether_alive(sub) end
  if not data then return false end
  sub.asked = false
  link.parser:feed(data)
  return true
end

--- What has come already: a list; nil: nothing; false: the connection is of no use.
local function look(sub)
  local early = sub.early[sub.at]
  if early then
    sub.at = sub.at + 1
    return early
  end
  local ok, said = pcall(parse, sub.link)
  if not ok then return false end
  return said
end

--- A message in order for whoever asked; nothing for what is none.
local function message(list)
  if list[1] == "message" then return "message", list[2], list[3] end
  if list[1] == "pmessage" then return "pmessage", list[3], list[4], list[2] end
end

--- The lines of what comes: its next event. One at a time is here.
local function next_event(sub)
  while not sub.closed do
    if not sub.link then
      begin_again(sub)
      if not sub.closed then return "reconnected" end
    end
    local said = sub.link and look(sub)
    if sub.closed then return nil end
    if said then
      local kind = kind_of(said)
      if kind == "message" or kind == "pmessage" then return message(said) end
    elseif said == false and sub.link or said == nil and not take(sub) then
      lose(sub)
    end
  end
end

function meta:__call()
  core.spend_in_task()
  if not self.busy then
    if self.closed then return nil end
    local early = self.link and look(self)
    if early and (early[1] == "message" or early[1] == "pmessage") then return message(early) end
    if early == false then lose(self) end
  end
  self.lock:acquire()
  self.busy = true
  local _ <close> = scopes.defer(function()
    self.busy = false
    self.lock:release()
  end)
  return next_event(self)
end

--- The connection goes at once.
local function lose_all(sub)
  local link = sub.link
  sub.closed, sub.link = true, false
  if link then link.writer:abort() end
  return link
end

--- Ends it: whoever waits for a message gets nil, and so does each further call.
function RedisSubscription:close()
  check.self(self, meta, "close")
  local link = lose_all(self)
  if link and core.can_wait() then link.writer:wait_closed() end
end

function meta:__close() self:close() end

function meta:__tostring()
  return "asyncio.RedisSubscription: " .. (self.closed and "closed" or self.link and "open" or "connecting")
end

local function check_names(list, key)
  if list == nil then return 0 end
  local n = list.n or #list
  for i = 1, n do
    if type(list[i]) ~= "string" then
      check.error(1, "subscribe", ("'%s': a list of strings expected, got %s in it"):format(key,
        core.kind_of(list[i])))
    end
  end
  return n
end

--- Subscribes, and returns once that is confirmed.
local function open(settings, channels, patterns)
  local n, m = check_names(channels, "channels"), check_names(patterns, "patterns")
  if n + m == 0 then
    check.error(1, "subscribe", "'channels' or 'patterns' expected, with a name at least")
  end
  local bytes = (n > 0 and grammar.resp_encode("SUBSCRIBE", table.unpack(channels, 1, n)) or "")
    .. (m > 0 and grammar.resp_encode("PSUBSCRIBE", table.unpack(patterns, 1, m)) or "")
  local sub = setmetatable({
    settings = settings, loop = core.get_running_loop(), bytes = bytes, wanted = n + m, link = false,
    pauses = opening.pauses(), lock = core.Lock(), busy = false, closed = false, early = {}, at = 1,
    asked = false,
  }, meta)
  begin(sub)
  return sub
end

return { open = open, lose = lose_all, methods = RedisSubscription }
