-- fake.lua - for the specs of Redis: a server of ours in memory, so that the clock may be the virtual one, which says
-- what a test wants.
local t = require "helper"
local grammar = require "asyncio.grammar"
local opening = require "asyncio.redis.opening"

local asyncio = t.asyncio
local fake = {}

local Link = {}
Link.__index = Link

--- The next command, as a list; nil at the end.
function Link:command()
  while true do
    local kind, value = self.parser:next()
    if kind == "reply" then return value end
    assert(kind ~= "error", value)
    local ok, data = asyncio.pcall(self.reader.read, self.reader, 65536)
    if ok and not data then return nil end
    if ok then
      self.parser:feed(data)
    elseif not asyncio.isinstance(data, asyncio.TimeoutError) then -- the client's time limit is both ends'
      error(data, 0)
    end
  end
end

function Link:say(text) self.writer:write(text) end

--- As the last server would: greets, then answers each command by its name and arguments, "GET" by its key.
function Link:serve(answers)
  for command in self.command, self do
    local name = command[1]:upper()
    local answer = answers and answers[name]
    if type(answer) == "function" then answer = answer(command, self) end
    if answer == nil then
      if name == "HELLO" then answer = "%1\r\n+proto\r\n:3\r\n"
      elseif name == "GET" then answer = ("$%d\r\n%s\r\n"):format(#command[2], command[2])
      else answer = "+OK\r\n" end
    end
    if answer then self:say(answer) end
  end
end

--- Calls fn(connect, links) while connections come to `handler(link, number)`, each in a task of its own. A handler
-- that is `false` refuses.
function fake.with(handler, fn)
  local former, n, tasks = opening.stream, 0, {}
  local made = {}
  opening.stream = function(_, read_timeout)
    n = n + 1
    local number = n
    local accepts = type(handler) == "function" and handler or handler[math.min(number, #handler)]
    if not accepts then error(asyncio.ConnectionRefusedError "connect: refused", 0) end
    local pair = table.pack(asyncio.stream_pair { read_timeout = read_timeout })
    local reader, writer = pair[1], pair[2]
    local link = setmetatable({ reader = pair[3], writer = pair[4], parser = grammar.resp() }, Link)
    made[number] = link
    tasks[#tasks + 1] = asyncio.create_task(function()
      asyncio.pcall(accepts, link, number)
      link.writer:abort()
    end)
    return reader, writer
  end
  local _ <close> = asyncio.defer(function()
    opening.stream = former
    for _, task in ipairs(tasks) do task:stop() end
    for _, link in ipairs(made) do link.writer:abort() end
  end)
  return fn(made, function() return n end)
end

--- The same as a test on the virtual clock, with a client.
function fake.test(handler, fn, opts)
  return t.run(function()
    fake.with(handler, function(links, count)
      local client <close> = asyncio.redis.connect(opts)
      fn(client, links, count)
    end)
  end)
end

return fake
