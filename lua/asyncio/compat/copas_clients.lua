--- `copas.http`, `copas.smtp`, `copas.ftp`: LuaSocket's own clients, on our sockets.
-- @module asyncio.compat.copas_clients
local loading = require "asyncio.compat.loading"
local socket = require "asyncio.socket"
local sockets = require "asyncio.compat.copas_sockets"

local clients = {}

--- Its fields are the module's own: setting one sets that.
local function client(name)
  local module = loading.require("socket." .. name)
  return setmetatable({}, { __index = module, __newindex = module }), module
end

local LIMITS = { connect = true, send = true, receive = true }

local function check_limits(limits)
  if type(limits) ~= "table" then return end
  for key in pairs(limits) do
    assert(LIMITS[key], "'" .. key .. "' is not a valid timeout option. Valid: 'connect', 'send', 'receive'")
  end
end

local function create_plain() return sockets.wrap(socket.tcp()) end

--- The request, with sockets that keep to its own `timeout`: seconds, or a table of them by call.
local function with_limits(given)
  local limits, request = given.timeout, {}
  check_limits(limits)
  for key, value in pairs(given) do request[key] = value end
  local create = given.create
  if not create then
    local secure = type(given.url) == "string" and given.url:lower():find "^https:"
    create = secure and loading.require "ssl.https".tcp(given) or create_plain
  end
  function request.create(...)
    local connection = create(...)
    if type(limits) ~= "table" then
      connection:settimeout(limits)
    elseif connection.settimeouts then
      connection:settimeouts(limits.connect, limits.send, limits.receive)
    end
    connection.settimeout = function() return 1 end -- the client sets one for all requests
    return connection
  end
  return request
end

function clients.http()
  local http, module = client "http"
  rawset(http, "request", function(given, body)
    if type(given) == "table" and given.timeout then given = with_limits(given) end
    return module.request(given, body)
  end)
  return http
end

function clients.smtp() return (client "smtp") end

function clients.ftp() return (client "ftp") end

return clients
