-- http_client: an answer is its asker's, a connection is given back or closed, and nobody waits in vain.
local asyncio = require "asyncio"
local http = asyncio.http

--- A server that answers with what it was asked for, at once or late, whole or cut.
local function serve(c, opts)
  return asyncio.start_server(function(reader, writer)
    while true do
      local ok, head = asyncio.pcall(reader.readuntil, reader, "\r\n\r\n")
      if not ok or not head then return end
      local method, path = head:match "^(%u+) (%S+)"
      local length = tonumber(head:match "Content%-Length: (%d+)" or 0)
      local body = length > 0 and reader:readexactly(length) or ""
      c.pass()
      local text = ("%s %s %s "):format(method, path, body):rep(c.random(0, 200)) .. path
      local answer = ("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"):format(#text, text)
      if opts.moved and c.random(3) == 1 then
        answer = ("HTTP/1.1 307 There\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n"):format(path)
      end
      local cut = opts.cuts and c.random(6) == 1 and c.random(0, #answer - 1) or c.random(#answer)
      if not asyncio.pcall(writer.send, writer, answer:sub(1, cut)) then return end
      if opts.cuts and c.random(6) == 1 then return end
      c.pass()
      if not asyncio.pcall(writer.send, writer, answer:sub(cut + 1)) then return end
    end
  end, "127.0.0.1", 0)
end

local function is_expected(err)
  return asyncio.isinstance(err, http.HTTPError) or asyncio.isinstance(err, asyncio.OSError)
    or asyncio.isinstance(err, asyncio.TimeoutError)
end

local asked = 0

--- One request, whose answer is read in some way, or not.
local function ask(client, c)
  asked = asked + 1
  local path, body = "/" .. asked, c.one_of { nil, "body", { "a", "list" } }
  local method = body and c.one_of { "POST", "PUT" } or "GET"
  local answer <close> = client:request(path, {
    method = method, body = body, max_redirects = 20, timeout = c.one_of { 60, 1 },
  })
  local way = c.random(4)
  if way == 1 then return end
  local text
  if way == 2 then
    text = answer:read()
  else
    local parts = {}
    for block in answer:blocks(c.random(1000)) do parts[#parts + 1] = block end
    text = table.concat(parts)
  end
  assert(text:sub(-#path) == path, "somebody else's answer")
end

local function some(client, c)
  for _ = 1, 3 do
    local ok, err = pcall(ask, client, c)
    if not ok and not is_expected(err) then error(err, 0) end
    c.pass()
  end
end

local function case(name, opts)
  return { name, "virtual", function(c)
    local server = serve(c, opts)
    local client = http.Client {
      base_url = "http://" .. tostring(server:sockets()[1]), max_connections = c.random(3),
      keepalive_timeout = c.one_of { nil, 0, 0.1 },
    }
    local others = {}
    for i = 1, c.random(0, 4) do others[i] = asyncio.create_task(some, client, c) end
    if others[1] and c.random(2) == 1 then
      asyncio.create_task(function()
        c.pass()
        others[1]:cancel()
      end)
    end
    return function() some(client, c) end, function()
      if #others > 0 then asyncio.wait(others) end
      for i, task in ipairs(others) do
        if i > 1 or not task:cancelled() then asyncio.await(task) end
      end
      local state = tostring(client)
      assert(state:find ", 0 in use, 0 waiting" or state:find ": %d+ idle, 0 in use, 0 waiting", state)
      client:close()
      asyncio.sleep(100) -- the server has thought all its thoughts
      server:close()
      server:wait_closed()
    end
  end }
end

return {
  case("Client:request", {}),
  case("Client:request where it is led on", { moved = true }),
  case("Client:request where answers are cut", { cuts = true }),
}
