-- systemd_socket.lua [SECONDS] - a server that systemd starts at the first connection, with its sockets open.
-- It answers each line in upper case, gives up clients that are silent for a minute, and ends after five
-- minutes (or so many seconds) without any: systemd goes on listening. So it does when the program is stopped
-- (SIGTERM): it answers what it was asked, and who comes later waits for the next. Try it without a unit:
--
--     systemd-socket-activate -l 12345 lua5.4 systemd_socket.lua     and then     nc 127.0.0.1 12345
--
-- As a service it needs two files in /etc/systemd/system, shout.socket and shout.service:
--
--     [Socket]                                  [Service]
--     ListenStream=12345                        ExecStart=lua5.4 /path/to/systemd_socket.lua
--     ListenStream=/run/shout.sock
--     [Install]
--     WantedBy=sockets.target                   and:  systemctl enable --now shout.socket
local asyncio = require "asyncio"

local FIRST = 3 -- the descriptor of the first socket; so says sd_listen_fds(3)
local GRACE = 10 -- seconds that what is asked already has to be answered
local IDLE = tonumber(arg[1]) or 300 -- seconds without a client

-- The descriptors that were handed to this process. LISTEN_PID is whose they are: a program that we would
-- start has the variables too, but not the sockets.
local function handed_sockets()
  local own = io.open "/proc/self/stat"
  local pid = own and own:read "n"
  if own then own:close() end
  local count = tonumber(os.getenv "LISTEN_FDS")
  if not count or pid and tonumber(os.getenv "LISTEN_PID") ~= pid then return {} end
  local list = {}
  for fd = FIRST, FIRST + count - 1 do list[#list + 1] = fd end
  return list
end

local clients, came = 0, 0

local function shout(reader, writer)
  clients, came = clients + 1, came + 1
  local ok, err = asyncio.pcall(function()
    for line in reader:lines() do writer:send(line:upper(), "\n") end
  end)
  clients = clients - 1
  if ok then return end
  if not asyncio.isinstance(err, asyncio.TimeoutError) then error(err, 0) end
  writer:send "BYE\n" -- the stream is as before
end

-- Returns when there has been no client for so long.
local function wait_until_idle(seconds)
  repeat
    local before = came
    asyncio.sleep(seconds)
  until clients == 0 and came == before
end

local sockets = handed_sockets()
if #sockets == 0 then
  io.stderr:write "systemd_socket.lua: no sockets were handed over; start it by systemd-socket-activate\n"
  os.exit(1)
end

local function main()
  local servers, group <close> = {}, asyncio.TaskGroup()
  for i, fd in ipairs(sockets) do -- TCP or unix, as the unit says; they are the servers' from now on
    servers[i] = asyncio.start_server(shout, {
      fd = fd, read_timeout = 60, write_timeout = 60, stop_grace = GRACE,
    })
    io.stderr:write("serving on ", tostring(servers[i]:sockets()[1]), "\n")
    group:create_task(servers[i].serve_forever, servers[i])
  end
  wait_until_idle(IDLE)
  for _, server in ipairs(servers) do server:close() end
end

local ok, err = pcall(function()
  local runner <close> = asyncio.Runner { stop_signals = { "SIGTERM" } } -- cancels main, hence serve_forever
  runner:run(main)
end)
if not ok and not asyncio.isinstance(err, asyncio.KeyboardInterrupt) then error(err, 0) end
io.stderr:write(ok and "idle" or "stopped", ": served ", came, came == 1 and " client\n" or " clients\n")
