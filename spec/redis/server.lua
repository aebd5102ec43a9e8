-- server.lua - for the specs of Redis: a server of Debian's in a folder of its own, on a unix socket, with no port
-- unless it is wanted; and clients of it.
local t = require "helper"
local peers = require "peers"
local program = require "program"

local asyncio = t.asyncio
local server = {}

local Server = {}
Server.__index = Server

--- The program: Debian's package redis-tools has it, under the name of a check that it also does; the package
-- redis-server adds a link, and a service.
local function binary(folder)
  if peers.has "redis-server" then return "redis-server" end
  if not peers.has "redis-check-rdb" then t.skip "redis-server is not installed" end
  os.execute(("ln -s \"$(command -v redis-check-rdb)\" %s/redis-server"):format(folder))
  return folder .. "/redis-server"
end

--- Starts one; more: its options; env: of its process, as `env` takes it. `local db <close> = server.start()`, then
-- db.url
function server.start(more, env)
  local folder = os.tmpname()
  os.remove(folder)
  os.execute(("mkdir -m 700 %s"):format(folder))
  local self = setmetatable({ folder = folder, path = folder .. "/socket", more = more or "", env = env or "" },
    Server)
  self.url = "unix://" .. self.path
  self.binary = binary(folder)
  self:run()
  return self
end

function Server:run()
  self.program = program.start("env %s %s --port 0 --unixsocket %s --save \"\" --dir %s --loglevel notice %s", self.env,
    self.binary, self.path, self.folder, self.more)
  self.program:expect "ready to accept connections at"
end

--- Ends it as a power failure does.
function Server:kill()
  os.execute("kill -KILL " .. self.program.pid)
  self.program:expect "%[status"
  self.program:__close()
  self.program = nil
  os.remove(self.path)
end

function Server:signal(name) os.execute(("kill -%s %s"):format(name, self.program.pid)) end

function Server:connect(opts)
  opts = opts or {}
  opts.path = self.path
  return asyncio.redis.connect(opts)
end

--- What is preloaded may hold a lock when a signal comes, whose handler wants it, too: such a one is killed.
function Server:__close()
  if self.program and self.env ~= "" then self:signal "KILL" end
  if self.program then self.program:__close() end
  os.execute("rm -rf " .. self.folder)
end

--- Runs fn(client, db) as a test.
function server.test(fn, more, opts)
  return t.real(function()
    local db <close> = server.start(more)
    local client <close> = db:connect(opts)
    fn(client, db)
  end)
end

return server
