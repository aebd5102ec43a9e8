-- nginx.lua - for the specs that have nginx at the other end.
local t = require "helper"
local peers = require "peers"
local program = require "program"

local asyncio = t.asyncio
local nginx = {}

local CONFIG = [[
daemon off; master_process off; pid FOLDER/nginx.pid; error_log FOLDER/nginx.log;
events { worker_connections 64; }
http {
  access_log off; client_body_temp_path FOLDER; proxy_temp_path FOLDER; fastcgi_temp_path FOLDER;
  uwsgi_temp_path FOLDER; scgi_temp_path FOLDER;
  server { SERVER }
}
]]

--- Calls fn(port, folder) while nginx serves there, with those directives for its server, which have PORT for the port
-- and FOLDER for a folder of its own. Skips the test where it is missing.
function nginx.serve(directives, fn)
  peers.need "nginx"
  local folder = os.tmpname()
  os.remove(folder)
  os.execute("mkdir " .. folder)
  local port = peers.reserve_port()
  local config = CONFIG:gsub("SERVER", { SERVER = directives }):gsub("%u+", { FOLDER = folder, PORT = port })
  local file <close> = peers.file(config)
  local server <close> = program.start("nginx -c %s -e %s/nginx.log", file.name, folder)
  t.wait_until(function()
    local ok, _, writer = pcall(asyncio.open_connection, "127.0.0.1", port)
    if ok then writer:close() end
    return ok
  end)
  fn(port, folder)
  server:interrupt()
  os.execute("rm -rf " .. folder)
end

return nginx
