-- fake.lua - for the specs of Redis: a server of ours in memory, so that the clock may be the virtual one, which says
-- what a test wants.
local asyncio = require "asyncio"
local grammar = require "asyncio.grammar"
local opening = require "asyncio.redis.opening"

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

--- From now on connections come to `handler(link, number)`, each in a task of its own; or to those of a list, in turn,
-- where `false` refuses. Returns the links, a function that says how many were wanted, and one that ends all.
function fake.open(handler)
  local former, n, tasks, links = opening.stream, 0, {}, {}
  opening.stream = function(_, read_timeout)
    n = n + 1
    local number = n
    local accepts = type(handler) == "function" and handler or handler[math.min(number, #handler)]
    if not accepts then error(asyncio.ConnectionRefusedError "connect: refused", 0) end
    local pair = table.pack(asyncio.stream_pair { read_timeout = read_timeout })
    local link = setmetatable({ reader = pair[3], writer = pair[4], parser = grammar.resp() }, Link)
    links[number] = link
    tasks[#tasks + 1] = asyncio.create_task(function()
      asyncio.pcall(accepts, link, number)
      link.writer:abort()
    end)
    return pair[1], pair[2]
  end
  return links, function() return n end, function()
    opening.stream = former
    for _, task in ipairs(tasks) do task:stop() end
    for _, link in ipairs(links) do link.writer:abort() end
  end
end

--- Calls fn(links, count) while connections come to the handler.
function fake.with(handler, fn)
  local links, count, close = fake.open(handler)
  local _ <close> = asyncio.defer(close)
  return fn(links, count)
end

--- The same as a test on the virtual clock, with a client.
function fake.test(handler, fn, opts)
  return require "helper".run(function()
    fake.with(handler, function(links, count)
      local client <close> = asyncio.redis.connect(opts)
      fn(client, links, count)
    end)
  end)
end

return fake
