-- files.lua - a file server: lua5.4 files.lua [folder [port]]
--
-- Folders show their index.html. Ctrl-C (or SIGTERM) lets what is under way be sent, for 20 s at most.
local asyncio = require "asyncio"
local http = require "asyncio.http"

local root, port = arg[1] or ".", tonumber(arg[2] or 8080)

local function handler(request)
  local path = request.path
  if path:sub(-1) == "/" then path = path .. "index.html" end
  return http.file(request, path, root)
end

local function main()
  local server <close> = http.serve(handler, "127.0.0.1", port, {
    access_log = true, server_header = "files", stop_grace = 20,
  })
  print("Serving " .. root .. " at http://127.0.0.1:" .. server:sockets()[1].port)
  io.stdout:flush()
  server:serve_forever()
end

local runner <close> = asyncio.Runner { stop_signals = { "SIGTERM" } }
local ok, err = pcall(runner.run, runner, main)
if not ok and not asyncio.isinstance(err, asyncio.KeyboardInterrupt) then error(err, 0) end
