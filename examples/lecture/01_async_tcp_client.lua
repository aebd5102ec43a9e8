-- 01_async_tcp_client.lua --server ADDR --port PORT - a small netcat: what you type goes to the server,
-- what the server says is printed, both at the same time. Ctrl-D ends it.
local asyncio = require "asyncio"

io.stdout:setvbuf "line"

local USAGE = "usage: 01_async_tcp_client.lua [--help] --server ADDR --port PORT"

local function usage_error(message)
  io.stderr:write(USAGE, "\n01_async_tcp_client.lua: error: ", message, "\n")
  os.exit(2, true)
end

local function parse_arguments(list)
  local args, i = {}, 1
  while list[i] do
    local name = list[i]:match "^%-%-(%a+)$" or list[i] == "-h" and "help"
    if name == "help" then
      print(USAGE .. "\n\n  --server ADDR  name or address of the server\n  --port PORT    its TCP port")
      os.exit(0, true)
    elseif name ~= "server" and name ~= "port" then
      usage_error("unrecognized argument: " .. list[i])
    elseif not list[i + 1] then
      usage_error("argument --" .. name .. ": expected one argument")
    end
    args[name], i = list[i + 1], i + 2
  end
  if not args.server then usage_error "the argument --server is required" end
  if not args.port then usage_error "the argument --port is required" end
  local port = math.tointeger(tonumber(args.port))
  if not port or port < 1 or port > 65535 then usage_error("invalid port: " .. args.port) end
  return args.server, port
end

-- Prints what the server sends.
local function reader_task(reader)
  for line in reader:lines() do
    print("server response > " .. line)
  end
  print "Reader task terminated."
end

-- Sends what the user types. io.read blocks, so a thread does it: the other task goes on meanwhile.
local function writer_task(writer)
  local loop = asyncio.get_running_loop()
  local pool = asyncio.ThreadPoolExecutor(1)
  while true do
    local line = asyncio.await(loop:run_in_executor(pool, io.read, "L"))
    if not line then break end
    writer:write(line)
    writer:drain()
  end
  writer:write_eof() -- no more from us; the server may still have something to say
end

local function main(server, port)
  local reader, writer <close> = asyncio.open_connection(server, port)
  local reading = asyncio.create_task(reader_task, reader)
  local writing = asyncio.create_task(writer_task, writer)

  asyncio.await(reading) -- until the server closes the connection
  writing:cancel()       -- nobody is left to send to
end

asyncio.run(main, parse_arguments(arg))
