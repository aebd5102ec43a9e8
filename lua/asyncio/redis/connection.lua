--- One connection on which commands leave and replies come back, in order: who is owed which.
--
-- What is owed is a line (`owed[first..last]`): an Answer for one reply, or a batch, a table, for several. A
-- caller that was cancelled leaves its place in it: its reply is taken, and dropped by the Answer.
-- @module asyncio.redis.connection
local core = require "asyncio.core"
local opening = require "asyncio.redis.opening"
local tasks = require "asyncio.tasks"

local new_answer, await_answer, give_answer = core.new_answer, core.await_answer, core.give_answer

local BLOCK = 65536 -- bytes that are read at once
local SLACK = 1e-6  -- seconds: the clock counts nanoseconds, and a sum of seconds may be one more

local Connection = {}
Connection.__index, Connection.__name = Connection, "asyncio.redis.Connection"

local UNKNOWN = "the connection was lost (%s) before the answer came: whether it was done is not known"

--- Each has an error of its own, unless there is no memory.
local function new_failure(conn, why, cause)
  return opening.failure(conn.settings, UNKNOWN:format(why), cause)
end

-- Whoever is owed something is given it first, and leaves the line then: should memory run out between, it is
-- given twice, which does nothing, rather than never.

local function pop(conn)
  local first = conn.first
  conn.owed[first] = nil
  if first == conn.last then conn.first, conn.last = 1, 0 else conn.first = first + 1 end
end

--- Tells those who are owed something.
local function tell(conn, why, cause)
  while conn.last > 0 do
    local entry = conn.owed[conn.first]
    local ok, failure = pcall(new_failure, conn, why, cause)
    give_answer(type(entry) == "table" and entry.answer or entry, ok and failure or conn.failure)
    pop(conn)
  end
end

--- It is of no use any more. why: words. Called again it goes on with what was broken off.
function Connection:lose(why, cause)
  local first_time = not self.lost
  self.lost = self.lost or why
  tell(self, self.lost, cause)
  if not first_time then return end
  if self.timer then self.timer:cancel() end
  self.timer = false
  self.writer:abort()
  if self.on_lost then self.on_lost(self) end
end

--- Ends it; in a task returns once that is done.
function Connection:close(why)
  self:lose(why)
  if core.can_wait() and core.current_task() ~= self.task then tasks.wait { self.task } end
end

-- Replies

--- Replies for a batch. Returns whether it has them all, and what stands in the way if that isn't want of
-- bytes.
local function fill(parser, batch)
  local i, kind, what, where = parser:fill(batch.list, batch.got + 1, batch.n)
  batch.got = i - 1
  return batch.got == batch.n, kind, what, where
end

local function wrong(conn, what, where)
  local place = where and (" (byte %d)"):format(where) or ""
  conn:lose("what it said is not its protocol: " .. what .. place)
end

--- Gives out the replies that have come. False: it was lost.
local function deliver(conn)
  local parser, owed = conn.parser, conn.owed
  while true do
    local entry = owed[conn.first]
    local kind, what, where
    if type(entry) == "table" then
      local whole
      whole, kind, what, where = fill(parser, entry)
      if whole then
        give_answer(entry.answer, entry.list)
        pop(conn)
        kind, conn.useful = "batch", true
      end
    else
      kind, what, where = parser:next()
      if kind == "reply" then
        if not entry then return wrong(conn, "an answer that nobody has asked for") end
        give_answer(entry, what)
        pop(conn)
        conn.useful = true
      end
    end
    if not kind then return true end
    if kind == "error" then return wrong(conn, what, where) end
  end
end

local function read_all(conn)
  while not conn.lost do
    local data = conn.reader:read(BLOCK)
    if not data then return conn:lose "the server closed it" end
    conn.heard = conn.loop:time()
    conn.parser:feed(data)
    deliver(conn)
  end
end

local function read(conn)
  local ok, err = core.catch(read_all, conn)
  local known = ok or conn.lost or core.isinstance(err, core.OSError)
    or core.isinstance(err, core.ClosedError)
  if not ok then conn:lose("the reading of it was ended", err) end
  if not known or core.isinstance(err, core.CancelledError) then error(err, 0) end
  conn.writer:wait_closed()
end

-- Silence

local look

local function arm(conn, due)
  conn.timer, conn.due = conn.loop:call_at(due, look, conn), due
end

--- The first of those who are owed something is there: from now on silence counts.
local function listen(conn)
  conn.heard, conn.unsent = conn.loop:time(), 0
  if not conn.limit then return end
  local due = conn.heard + conn.limit
  if conn.timer and conn.due > due + SLACK then -- of one that might block for longer
    conn.timer:cancel()
    conn.timer = false
  end
  if not conn.timer then arm(conn, due) end
end

--- Whether the server takes what it is sent, and may therefore say nothing yet.
local function is_taking(conn)
  local former = conn.unsent
  conn.unsent = conn.writer:pending()
  return conn.unsent > 0 and conn.unsent ~= former
end

--- Answers are owed, or were when the timer was set.
function look(conn)
  conn.timer = false
  if conn.lost or conn.last == 0 or not conn.limit then return end
  local now = conn.loop:time()
  if is_taking(conn) then conn.heard = now end
  if conn.heard + conn.limit > now + SLACK then return arm(conn, conn.heard + conn.limit) end
  local n = conn.last - conn.first + 1
  conn:lose(("no byte for %.14g s while %d answer%s %s owed"):format(conn.limit, n, n == 1 and "" or "s",
    n == 1 and "is" or "are"))
end

-- Commands

--- Writes commands whose replies go to that entry. False: it can't, and nothing was sent. The entry has its
-- place before anything is sent: whatever fails, no reply goes to another.
local function send(conn, bytes, entry)
  if conn.lost then return false end
  local last = conn.last + 1
  if last == 1 then listen(conn) end
  conn.owed[last] = entry
  conn.last = last
  local ok, err = pcall(conn.writer.write, conn.writer, bytes)
  if ok then return true end
  conn.owed[last], conn.last = nil, last - 1
  conn:lose(core.words(err), err)
  return false
end

--- Sends one command and returns true and its reply; false where nothing was sent.
function Connection:ask(bytes)
  local answer = new_answer()
  if not send(self, bytes, answer) then return false end
  return true, await_answer(answer)
end

--- Sends n commands and returns true and the list of their replies, or the error that they all have.
function Connection:ask_all(bytes, n)
  local answer = new_answer()
  if not send(self, bytes, { answer = answer, list = { n = n }, n = n, got = 0 }) then return false end
  return true, await_answer(answer)
end

--- A link of opening.lua's becomes a connection.
local function set_up(link, on_lost)
  local conn = setmetatable(link, Connection)
  conn.loop = core.get_running_loop()
  conn.owed, conn.first, conn.last = {}, 1, 0
  conn.limit, conn.timer, conn.lost, conn.useful = link.settings.timeout, false, false, false
  conn.since = conn.loop:time()
  conn.heard, conn.unsent, conn.due, conn.on_lost = conn.since, 0, 0, on_lost
  conn.failure = new_failure(conn, "not enough memory")
  conn.task = core.create_task { read, conn, name = "redis " .. link.settings.to }
  conn.task:add_done_callback(function() conn:lose "the reading of it was ended" end)
  return conn
end

--- Connects; raises what goes wrong. on_lost: is told when it is of no use any more; or nil
local function open(settings, on_lost)
  local link = opening.open(settings)
  local ok, conn = core.catch(set_up, link, on_lost)
  if ok then return conn end
  link.writer:abort()
  error(conn, 0)
end

return { open = open }
