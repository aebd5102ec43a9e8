--- `copas.http`, `copas.smtp`, `copas.ftp`: LuaSocket's own clients, on our sockets.
-- @module asyncio.compat.copas_clients
local loading = require "asyncio.compat.loading"

local clients = {}

--- Fields are the module's own; `request` and the like wait where its sockets do.
local function client(name)
  local module = loading.require("socket." .. name)
  return setmetatable({}, { __index = module, __newindex = module })
end

local SECURE = { SSLPORT = 443, SSLPROTOCOL = "tlsv1_2", SSLOPTIONS = "all", SSLVERIFY = "none" }

--- https by LuaSec's own client.
local function request_securely(http, given, body)
  local https = loading.require "ssl.https"
  if type(given) == "string" then
    return https.request(given, body)
  end
  local params = setmetatable({}, { __index = given })
  for option, field in pairs { protocol = "SSLPROTOCOL", options = "SSLOPTIONS", verify = "SSLVERIFY" } do
    if given[option] == nil then params[option] = http[field] end
  end
  for key, value in pairs(given) do params[key] = value end
  return https.request(params)
end

function clients.http()
  local http = client "http"
  local plain = http.request
  for name, value in pairs(SECURE) do rawset(http, name, value) end
  rawset(http, "request", function(given, body)
    local url = type(given) == "table" and given.url or given
    if type(url) == "string" and url:lower():find "^https:" then return request_securely(http, given, body) end
    return plain(given, body)
  end)
  return http
end

function clients.smtp() return client "smtp" end

function clients.ftp() return client "ftp" end

return clients
