-- https_get.lua URL [CAFILE] - an HTTPS request by hand: the page goes to standard output, what is known of
-- the server to standard error. Its certificate is verified, by the system's authorities or those of CAFILE.
local asyncio = require "asyncio"
local ssl = require "asyncio.ssl"

local PATIENCE = 30 -- seconds that the server may say nothing
local MAX = 1 << 24 -- bytes of a page, at most

local function fail(message) error(asyncio.Error(message), 0) end

local function read_head(reader)
  local status = reader:readuntil "\r\n" or fail "the server has ended without an answer"
  local fields = {}
  for line in reader:lines "\r\n" do
    if line == "" then return status:gsub("\r\n", ""), fields end
    local name, value = line:match "^([^:]+):%s*(.-)%s*$"
    if name then fields[name:lower()] = value end
  end
  fail "the answer is cut in its head"
end

-- A piece of so many bytes; what is shorter raises IncompleteReadError.
local function read_piece(reader, n)
  if not n or n > MAX then fail "a page that is too long, or of no length at all" end
  return n == 0 and "" or reader:readexactly(n) or fail "the answer is cut"
end

local function read_chunks(reader)
  local total = 0
  repeat
    local n = tonumber((reader:readuntil "\r\n" or ""):match "^%x+", 16)
    local piece = read_piece(reader, n)
    total = total + #piece
    if total > MAX then fail "a page that is too long" end
    io.write(piece)
    reader:readuntil "\r\n"
  until n == 0
end

-- The page ends where its length says, with its last chunk, or with the connection. In the last case only TLS
-- knows whether it is whole: an end without the server's word for it raises SSLEOFError.
local function read_body(reader, fields)
  if (fields["transfer-encoding"] or ""):lower():find "chunked" then return read_chunks(reader) end
  local length = fields["content-length"]
  if length then return io.write(read_piece(reader, math.tointeger(tonumber(length)))) end
  for block in reader:blocks() do io.write(block) end
end

local function main(url, cafile)
  local host, port, path = url:match "^https://([^/:]+):?(%d*)(.*)$"
  if not host then fail "usage: https_get.lua https://HOST[:PORT]/PATH [CAFILE]" end
  local context = ssl.create_default_context { cafile = cafile, alpn_protocols = { "http/1.1" } }
  local reader, writer <close> = asyncio.open_connection {
    host = host, port = math.tointeger(tonumber(port)) or 443, ssl = context,
    connect_timeout = PATIENCE, read_timeout = PATIENCE,
  }
  io.stderr:write(("%s, %s, %s\n"):format(writer:get_extra_info "tls_version", writer:get_extra_info "cipher",
    writer:get_extra_info "peercert".subject))
  writer:write("GET ", path == "" and "/" or path, " HTTP/1.1\r\n")
  writer:send("Host: ", host, "\r\nConnection: close\r\n\r\n")
  local status, fields = read_head(reader)
  io.stderr:write(status, "\n")
  read_body(reader, fields)
end

local ok, err = pcall(asyncio.run, main, arg[1] or "", arg[2])
if ok then return end
if not asyncio.isinstance(err, asyncio.Error) then error(err, 0) end
io.stderr:write("https_get.lua: ", err.message, "\n")
os.exit(1, true)
