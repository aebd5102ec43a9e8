-- redisserver.lua - a redis-server on a unix socket, in a folder of its own, for other benches.
local redisserver = {}

local START = [[
  ln -s "$(command -v redis-server || command -v redis-check-rdb)" %s/redis-server
  %s/redis-server --port 0 --unixsocket %s --save '' --dir %s >/dev/null &
]]

--- The path of a new folder, and of the socket that will be there.
function redisserver.place()
  local folder = os.tmpname()
  os.remove(folder)
  os.execute("mkdir -m 700 " .. folder)
  return folder, folder .. "/socket"
end

--- Calls fn(...) while the server runs there; then the folder goes, and what it has raised is raised.
function redisserver.with(folder, socket, fn, ...)
  os.execute(START:format(folder, folder, socket, folder))
  for _ = 1, 200 do
    if os.execute(("redis-cli -s %s ping >/dev/null 2>&1"):format(socket)) then break end
    os.execute "sleep 0.05"
  end
  local ok, err = pcall(fn, ...)
  os.execute(("redis-cli -s %s shutdown nosave 2>/dev/null; rm -rf %s"):format(socket, folder))
  if not ok then error(err, 0) end
end

return redisserver
