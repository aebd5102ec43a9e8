-- ours.lua MODE PORT [UPSTREAM]: what is measured; MODE is echo, limits (an echo with limits of time), line,
-- bulk, copy (an echo by `asyncio.copy`) or proxy, which connects each client to the port UPSTREAM; tls-MODE:
-- with the certificate of CERTFILE and KEYFILE; udp, udp-iter, udp-many: an echo of datagrams in three forms.
local asyncio = require "asyncio"

local serve = {}

function serve.echo(reader, writer)
  for data in function() return reader:read(65536) end do writer:send(data) end
end

serve.limits = serve.echo

function serve.line(reader, writer)
  for line in function() return reader:readline() end do writer:send(line) end
end

function serve.bulk(_, writer)
  local chunk = ("x"):rep(65536)
  for _ = 1, (1 << 30) // #chunk do writer:send(chunk) end
end

serve.copy = asyncio.copy

function serve.proxy(reader, writer)
  local far_reader, far_writer <close> = asyncio.open_connection("127.0.0.1", tonumber(arg[3]))
  local back = asyncio.create_task(asyncio.copy, far_reader, writer)
  asyncio.copy(reader, far_writer)
  far_writer:write_eof()
  asyncio.await(back)
end

local echo = {}

function echo.udp(endpoint)
  while true do endpoint:send(endpoint:receive()) end
end

echo["udp-iter"] = function(endpoint)
  for data, address in endpoint:iter() do endpoint:send(data, address) end
end

echo["udp-many"] = function(endpoint)
  while true do endpoint:send_many(endpoint:receive_many(64)) end
end

local function echo_datagrams(mode)
  local endpoint <close> = asyncio.create_datagram_endpoint {
    local_addr = { host = "127.0.0.1", port = tonumber(arg[2]) } }
  echo[mode](endpoint)
end

local function serve_streams(mode)
  local opts = { backlog = 4096 }
  local is_tls
  mode, is_tls = mode:gsub("^tls%-", "")
  if is_tls > 0 then
    local ssl = require "asyncio.ssl"
    opts.ssl = ssl.create_server_context { certfile = os.getenv "CERTFILE", keyfile = os.getenv "KEYFILE" }
  end
  if mode == "limits" then opts.read_timeout, opts.write_timeout = 30, 30 end
  local server <close> = asyncio.start_server(serve[mode], "127.0.0.1", tonumber(arg[2]), opts)
  server:serve_forever()
end

asyncio.run(echo[arg[1]] and echo_datagrams or serve_streams, arg[1])
