-- dns.lua NAME [SERVER [PORT]] - asks a name server for a name's addresses, by hand: a datagram each way.
-- Without SERVER it asks one of its own, which knows "one.example" and "two.example".
-- dns.lua --serve [HOST [PORT]] - is that server, for others to ask: `dig @127.0.0.1 -p PORT one.example`
local asyncio = require "asyncio"

io.stdout:setvbuf "line"

local PATIENCE, TRIES = 1, 3 -- seconds for an answer; a datagram may be lost, either way
local IN = 1
local A, AAAA = 1, 28

local function fail(format, ...) error(asyncio.Error(format:format(...))) end

local RCODES = { "format error", "server failure", "no such name", "not implemented", "refused" }

-- What a message is made of (RFC 1035)

local function pack_name(name)
  local labels = {}
  for label in name:gmatch "[^.]+" do
    if #label > 63 then fail("a label of %d bytes in %q: 63 at most", #label, name) end
    labels[#labels + 1] = string.pack("s1", label)
  end
  return table.concat(labels) .. "\0"
end

--- Where the name at `at` ends. One may end in a pointer to an earlier one, which needn't be followed here.
local function skip_name(message, at)
  while true do
    local length = string.unpack("B", message, at)
    if length >= 0xC0 then return at + 2 end
    if length == 0 then return at + 1 end
    at = at + 1 + length
  end
end

local function pack_question(id, name, kind)
  local head = string.pack(">I2I2I2I2I2I2", id, 0x0100, 1, 0, 0, 0)
  return head .. pack_name(name) .. string.pack(">I2I2", kind, IN)
end

local function ipv6_text(data)
  local words = {}
  for i = 1, 15, 2 do words[#words + 1] = ("%x"):format((string.unpack(">I2", data, i))) end
  return table.concat(words, ":")
end

--- The addresses in an answer: a list, and the server's verdict (0: fine). Raises where the message is cut.
local function unpack_answer(message)
  local _, flags, questions, answers, _, _, at = string.unpack(">I2I2I2I2I2I2", message)
  local addresses = {}
  for _ = 1, questions do at = skip_name(message, at) + 4 end
  for _ = 1, answers do
    local kind, _, _, data, after = string.unpack(">I2I2I4s2", message, skip_name(message, at))
    at = after
    if kind == A and #data == 4 then
      addresses[#addresses + 1] = table.concat({ data:byte(1, 4) }, ".")
    elseif kind == AAAA and #data == 16 then
      addresses[#addresses + 1] = ipv6_text(data)
    end
  end
  return addresses, flags & 15, flags & 0x0200 ~= 0
end

-- The client

--- Waits for the answer to this question: what else comes answers an earlier one, or is somebody's invention.
local function await_answer(endpoint, id)
  for data in endpoint:iter() do
    if #data >= 12 and string.unpack(">I2", data) == id and data:byte(3) & 0x80 ~= 0 then return data end
  end
end

local function ask(endpoint, name, kind)
  for _ = 1, TRIES do
    local id = math.random(0, 0xFFFF)
    endpoint:send(pack_question(id, name, kind))
    local in_time, answer = asyncio.move_on_after(PATIENCE, await_answer, endpoint, id)
    if in_time then
      local ok, addresses, verdict, cut = pcall(unpack_answer, answer)
      if not ok then fail "the server's answer makes no sense" end
      if verdict ~= 0 then fail("%s: %s", name, RCODES[verdict] or "error " .. verdict) end
      return addresses, cut
    end
  end
  fail("no answer, though asked %d times", TRIES)
end

--- Connected: only that server is heard, and a port where nobody listens is an error, not silence.
local function look_up(name, host, port)
  local endpoint <close> = asyncio.create_datagram_endpoint { remote_addr = { host = host, port = port } }
  for _, kind in ipairs { A, AAAA } do
    local addresses, cut = ask(endpoint, name, kind)
    for _, address in ipairs(addresses) do print(address) end
    if cut then print "(there are more, too many for a datagram)" end
  end
end

-- The server

local KNOWN = {
  ["one.example"] = { [A] = { "\192\0\2\1" }, [AAAA] = { "\32\1\13\184" .. ("\0"):rep(11) .. "\1" } },
  ["two.example"] = { [A] = { "\192\0\2\2", "\192\0\2\3" } },
}

--- The answer to a question; raises, or nil, for what isn't one.
local function answer(message)
  local id, flags, questions, _, _, _, at = string.unpack(">I2I2I2I2I2I2", message)
  if flags & 0x8000 ~= 0 or questions ~= 1 then return nil end
  local labels = {}
  while string.unpack("B", message, at) ~= 0 do
    local label, after = string.unpack("s1", message, at)
    labels[#labels + 1], at = label:lower(), after
  end
  local kind, _, rest = string.unpack(">I2I2", message, at + 1)
  local known = KNOWN[table.concat(labels, ".")]
  local records = {}
  for i, data in ipairs(known and known[kind] or {}) do
    records[i] = string.pack(">I2I2I2I4s2", 0xC00C, kind, IN, 60, data) -- 0xC00C: the question's name
  end
  local verdict = 0x8480 | flags & 0x0100 | (known and 0 or 3)
  local head = string.pack(">I2I2I2I2I2I2", id, verdict, 1, #records, 0, 0)
  return head .. message:sub(13, rest - 1) .. table.concat(records)
end

local function serve(endpoint)
  for question, address in endpoint:iter() do
    local ok, reply = pcall(answer, question)
    -- to one who has gone, or can't be reached: that is no reason to stop
    if ok and reply then asyncio.pcall(endpoint.send, endpoint, reply, address) end
  end
end

local function open(host, port)
  local address = { host = host or "127.0.0.1", port = tonumber(port or 0) }
  return asyncio.create_datagram_endpoint { local_addr = address }
end

local function main(name, host, port)
  if name == "--serve" then
    local endpoint <close> = open(host, port)
    local address = endpoint:get_extra_info "sockname"
    print(("Listening on %s:%d"):format(address.host, address.port))
    return serve(endpoint)
  end
  if host then return look_up(name, host, tonumber(port or 53)) end
  local endpoint <close> = open()
  local _ <close> = asyncio.create_task(serve, endpoint)
  look_up(name, "127.0.0.1", endpoint:get_extra_info "sockname".port)
end

local ok, err = pcall(asyncio.run, main, table.unpack(arg[1] and arg or { "one.example" }))
if ok or asyncio.isinstance(err, asyncio.KeyboardInterrupt) then return end
io.stderr:write("dns.lua: ", asyncio.isinstance(err, asyncio.Error) and err.message or tostring(err), "\n")
os.exit(1, true)
