-- The grammar beside Python's h11 and Node's llhttp: known tricks and random mutations. Where they differ,
-- differences.lua says why.
local t = require "helper"
local differences = require "http.differences"
local parsers = t.asyncio.parsers

local ROOT = arg[0]:match "^(.*)/spec/[^/]*$" or "."
local PEERS = {
  h11 = "/usr/bin/python3 spec/http/h11_peer.py",
  llhttp = "node spec/http/llhttp_peer.js",
}

-- What we make of bytes, as the peers write it

local function hex(text) return (text:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end

local function fields(headers)
  local list = {}
  for name, value in pairs(headers) do list[#list + 1] = hex(name:lower()) .. "=" .. hex(value) end
  return table.concat(list, ",")
end

local function head_of(event, head)
  if event == "informational" then return "info:" .. head.status end
  if event == "response" then return ("head:%d:%s"):format(head.status, fields(head.headers)) end
  return ("head:%s:%s:%s"):format(hex(head.method), hex(head.target), fields(head.headers))
end

--- Answers a request; true: the next may come.
local function answer(c)
  c:response(200)
  return c:next_cycle()
end

local function ours(role, method, bytes)
  local c, out, body = parsers.http { role = role }, {}, nil
  local function add(text) out[#out + 1] = text end
  local function finish(body_, word)
    if body_ then add("body:" .. body_) end
    add(word)
    return table.concat(out, " ")
  end
  if role == "client" then c:request(method, method == "CONNECT" and "h:1" or "/", "h") end
  local event, value, what = c:feed(bytes)
  while true do
    local _, theirs = c:states()
    if event == nil then
      if body then add("part:" .. body) end
      return finish(nil, "need")
    elseif event == "error" then return finish(nil, "error:" .. what)
    elseif event == "data" then body = body .. hex(value)
    elseif event ~= "end" and event ~= "paused" then
      add(head_of(event, value))
      if event ~= "informational" then body = "" end
    end
    if theirs:find "switch" then return finish(event == "end" and body, "switch") end
    if event == "end" or (event == "request" or event == "response") and not value.body then
      add("body:" .. body)
      body = nil
      if role == "client" or not answer(c) then return finish(nil, "over") end
    end
    event, value, what = c:next()
  end
end

-- What the peers make of it

local function ask(command, cases)
  local input, output = os.tmpname(), os.tmpname()
  local file <close> = assert(io.open(input, "w"))
  for _, case in ipairs(cases) do file:write(("%s %s %s\n"):format(case.role, case.method, hex(case.bytes))) end
  file:close()
  local ok = os.execute(("cd '%s' && %s <%s >%s 2>&1"):format(ROOT, command, input, output))
  local records = {}
  for line in io.lines(output) do records[#records + 1] = (line:gsub("body: switch", "switch")) end
  os.remove(input)
  os.remove(output)
  t.assertTrue(ok and #records == #cases, records[1])
  return records
end

-- Cases

local HOST = "Host: h\r\n"

local SEEDS = {
  server = {
    "GET /a?b HTTP/1.1\r\n" .. HOST .. "\r\nGET /b HTTP/1.1\r\n" .. HOST .. "\r\n",
    "POST / HTTP/1.1\r\n" .. HOST .. "Content-Length: 5\r\n\r\nhelloGET / HTTP/1.0\r\n\r\n",
    "POST / HTTP/1.1\r\n" .. HOST
    .. "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\na;b=c\r\n0123456789\r\n0\r\nA: b\r\n\r\nGET",
    "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.1\r\n" .. HOST .. "Connection: Upgrade\r\nUpgrade: tea\r\n\r\nrest",
    "OPTIONS * HTTP/1.1\r\n" .. HOST .. "Accept: a\r\nAccept: b\r\nX-Empty:\r\n\r\n",
  },
  client = {
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n00a;b=c\r\n0123456789\r\n0\r\nA: b\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
    "HTTP/1.0 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    "HTTP/1.1 200 OK\r\n\r\nto the end",
  },
}

local METHODS = { "GET", "GET", "GET", "HEAD", "CONNECT" }

local PIECES = { "\r\n", "\n", "\r", " ", "\t", "\0", ":", ",", ";", "0", "1", "f", "+", "-", "\127", "\xe9",
    "/", "%", "#", "@",
  "chunked", "Transfer-Encoding: chunked\r\n", "Content-Length: 5\r\n", "Content-Length: 3\r\n", HOST,
    "Connection: close\r\n",
  "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "identity", "gzip, ", "\r\n\r\n", " folded\r\n", "GET", "0\r\n\r\n",
    "Upgrade: tea\r\n" }

local rnd = math.random

local function mutate(bytes)
  for _ = 1, rnd(3) do
    local at, kind = rnd(#bytes), rnd(5)
    if kind == 1 then bytes = bytes:sub(1, at) .. PIECES[rnd(#PIECES)] .. bytes:sub(at + 1)
    elseif kind == 2 then bytes = bytes:sub(1, at - 1) .. bytes:sub(at + 1)
    elseif kind == 3 then bytes = bytes:sub(1, at - 1) .. PIECES[rnd(#PIECES)] .. bytes:sub(at + rnd(4))
    elseif kind == 4 then bytes = bytes:sub(1, at - 1) .. string.char(rnd(0, 255)) .. bytes:sub(at + 1)
    else
      local line = bytes:match("[^\r\n]*\r\n", at) or ""
      bytes = bytes:sub(1, at) .. line .. bytes:sub(at + 1)
    end
    if bytes == "" then bytes = "x" end
  end
  return bytes
end

local function cases_of(n)
  local cases = {}
  for _, case in ipairs(require "http.smuggling") do
    cases[#cases + 1] = { role = "server", method = "GET", bytes = case[3] }
  end
  for _ = 1, n do
    local role = rnd(2) == 1 and "server" or "client"
    local seeds = SEEDS[role]
    cases[#cases + 1] = { role = role, method = METHODS[rnd(#METHODS)], bytes = mutate(seeds[rnd(#seeds)]) }
  end
  return cases
end

-- Comparing

--- The record as far as both have it, and how each goes on.
local function parted(a, b)
  local one, other = {}, {}
  for word in a:gmatch "%S+" do one[#one + 1] = word end
  for word in b:gmatch "%S+" do other[#other + 1] = word end
  local i = 1
  while one[i] and one[i] == other[i] do i = i + 1 end
  return one[i] or "", other[i] or ""
end

--- Whether they say the same; why something is refused may be said in any words.
local function is_same(a, b) return (a:gsub("error:.*", "error")) == (b:gsub("error:.*", "error")) end

--- Why the peer may differ there; nil: that is not known.
local function explanation(peer, case, mine, theirs)
  local a, b = parted(mine, theirs)
  for _, difference in ipairs(differences) do
    if (difference.peer == peer or difference.peer == nil) and (difference.role or case.role) == case.role
      and a:find(difference.ours) and b:find(difference.theirs)
      and (not difference.bytes or case.bytes:find(difference.bytes)) then
      return difference
    end
  end
end

TestDifferences = {}

local function compare(peer)
  local seed = tonumber(os.getenv "SPEC_SEED") or 1 -- another may show what was never seen
  math.randomseed(seed)
  local cases, unknown = cases_of(tonumber(os.getenv "SPEC_CASES") or t.count(3000)), {}
  local theirs = ask(PEERS[peer], cases)
  for i, case in ipairs(cases) do
    local mine = ours(case.role, case.method, case.bytes):gsub("error:(.*)$", function(e) return "error:"
    .. e:gsub(" ", "_") end)
    if not is_same(mine, theirs[i]) and not explanation(peer, case, mine, theirs[i]) then
      local a, b = parted(mine, theirs[i])
      unknown[#unknown + 1] = ("%s %s %q\n  ours   %s\n  theirs %s"):format(case.role, case.method, case.bytes, a, b)
    end
  end
  local log = os.getenv "SPEC_LOG" -- all of them, for who looks into it
  if log then
    local file <close> = assert(io.open(log .. "." .. peer, "w"))
    file:write(table.concat(unknown, "\n"), "\n")
  end
  local some = table.concat(unknown, "\n", 1, math.min(#unknown, 3))
  t.assertEquals(#unknown, 0, ("%s, seed %d, %d cases:\n%s"):format(peer, seed, #cases, some))
end

local function has(command) return os.execute(command .. " >/dev/null 2>&1") end

function TestDifferences:test_to_h11_are_explained()
  if not has "/usr/bin/python3 -c 'import h11'" then t.skip "python3-h11 is not installed" end
  compare "h11"
end

function TestDifferences:test_to_llhttp_are_explained()
  if not has "node -e \"process.binding('http_parser')\"" then t.skip "Node is not installed, or has lost it" end
  compare "llhttp"
end

t.finish()
