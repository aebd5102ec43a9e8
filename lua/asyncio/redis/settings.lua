--- Where a Redis server is, and how one connects to it: URLs and options.
-- @module asyncio.redis.settings
local check = require "asyncio.check"
local sockets = require "asyncio.sockets"

local settings = {}

local PORT = 6379
local CONNECT_TIMEOUT = 10  -- seconds
local TIMEOUT = 30          -- seconds without a byte while answers are owed
local MAX_CONNECTIONS = 100 -- for what blocks, beside the shared one

local OPTIONS = check.options {
  "connect", 1, { "host", "string" }, { "port", "integer", 1, 65535 }, { "path", "string" },
  { "username", "string" }, { "password", "string" }, { "db", "integer", 0, 0x7fffffff },
  { "client_name", "string" }, { "protocol", "integer", 2, 3 },
  { "ssl", "any" }, { "server_hostname", "string" },
  { "connect_timeout", "positive" }, { "timeout", "positive" }, { "max_connections", "integer", 1 },
  guesses = "hostname server address=host|user login=username|pass auth=password|database=db|"
    .. "unix_socket_path unix socket=path|name=client_name|tls secure ssl_context context=ssl|"
    .. "socket_connect_timeout=connect_timeout|socket_timeout read_timeout=timeout|"
    .. "pool_size max_clients=max_connections|resp=protocol|"
    .. "url=the URL is the first argument, and the options the second",
}
local MORE = check.options {
  "connect", 2, { "host", "string" }, { "port", "integer", 1, 65535 }, { "path", "string" },
  { "username", "string" }, { "password", "string" }, { "db", "integer", 0, 0x7fffffff },
  { "client_name", "string" }, { "protocol", "integer", 2, 3 },
  { "ssl", "any" }, { "server_hostname", "string" },
  { "connect_timeout", "positive" }, { "timeout", "positive" }, { "max_connections", "integer", 1 },
}

local function fail(text) check.error(1, "connect", text) end

local function decoded(text, what)
  local rest = text:gsub("%%%x%x", "")
  if rest:find "%%" then fail(what .. " of the URL has a % that two hexadecimal digits must follow") end
  return (text:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

--- "user:password" → both, nil for what isn't there
local function read_login(opts, login)
  local user, password = login:match "^([^:]*):(.*)$"
  if not user then fail "the URL has a user without a password: write user:password@, or :password@" end
  if user ~= "" then opts.username = decoded(user, "the user") end
  if password ~= "" then opts.password = decoded(password, "the password") end
end

local function read_db(opts, text)
  local db = text:find "^%d+$" and math.tointeger(tonumber(text))
  if not db or db > 0x7fffffff then fail(("%q is no number of a database"):format(text)) end
  opts.db = db
end

local function read_query(opts, query)
  for pair in query:gmatch "[^&]+" do
    local key, value = pair:match "^([^=]*)=(.*)$"
    if key ~= "db" or opts.db then
      fail(("the URL's query has %q; it may have db=N, once"):format(pair))
    end
    read_db(opts, value)
  end
end

local function read_place(opts, place)
  local host, rest = place:match "^%[([%x:.%%]+)%](.*)$"
  if not host then host, rest = place:match "^([^:%[%]]*)(.*)$" end
  local port = rest:match "^:(%d+)$"
  if rest ~= "" and rest ~= ":" and not port then fail(("%q is no host, or no host:port"):format(place)) end
  if host ~= "" then opts.host = decoded(host, "the host") end
  if port then opts.port = sockets.check_port(tonumber(port), 1, "connect", "the URL: ") end
end

--- What a URL says, as options.
local function read_url(url)
  local opts = {}
  local scheme, rest = url:match "^(%a+)://(.*)$"
  scheme = scheme and scheme:lower()
  if scheme ~= "redis" and scheme ~= "rediss" and scheme ~= "unix" then
    fail(("redis://, rediss:// or unix:// expected, got %q"):format((url:gsub("//.*@", "//...@"))))
  end
  if rest:find "#" then fail "the URL has a #, which means nothing here: write %23" end
  local before, query = rest:match "^([^?]*)%?(.*)$"
  rest = before or rest
  local authority, path = rest:match "^([^/]*)(.*)$"
  local login, place = authority:match "^(.*)@([^@]*)$"
  if login then read_login(opts, login) end
  place = place or authority
  if scheme == "unix" then
    if place ~= "" or #path < 2 then
      fail "unix:// is followed by an absolute path: unix:///run/redis.sock"
    end
    opts.path = decoded(path, "the path")
  else
    read_place(opts, place)
    if #path > 1 then read_db(opts, path:sub(2)) end
    if scheme == "rediss" then opts.ssl = true end
  end
  if query then read_query(opts, query) end
  return opts
end

--- The options beside a URL, which may not say it otherwise.
local function join(opts, more)
  for key, value in pairs(MORE(more)) do
    if opts[key] ~= nil and not (key == "ssl" and value) then
      check.error(2, "connect", ("'%s': the URL says it already"):format(key))
    end
    if key == "ssl" and value and not opts.ssl then
      check.error(2, "connect", "'ssl' goes with rediss://")
    end
    opts[key] = value
  end
  return opts
end

local function check_place(opts)
  if opts.path then
    if opts.host or opts.port then fail "'path' does not go with 'host' or 'port'" end
    sockets.unix_address(opts.path, 1, "connect", "'path': ")
    opts.to = opts.path
    return
  end
  opts.host, opts.port = opts.host or "127.0.0.1", opts.port or PORT
  sockets.check_host(opts.host, 1, "connect", "host name", "'host': ")
  opts.to = (opts.host:find ":" and "[%s]:%d" or "%s:%d"):format(opts.host, opts.port)
end

--- What `connect` was given, in one table that is whole; `to` is what errors call the place.
function settings.read(where, more)
  local opts
  if type(where) == "string" then
    opts = read_url(where)
    if more ~= nil then opts = join(opts, more) end
  elseif type(where) == "table" and getmetatable(where) == nil or where == nil then
    if more ~= nil then check.error(2, "connect", "the options stand in the table") end
    opts = OPTIONS(where)
  else
    check.fail(1, "connect", "URL (a string) or table of options", where)
  end
  check_place(opts)
  if opts.username and not opts.password then
    fail "'username' does not go without 'password'"
  end
  if opts.ssl == nil and opts.server_hostname then fail "'server_hostname' does not go without 'ssl'" end
  if opts.client_name and opts.client_name:find "[^!-~]" then
    fail "'client_name': Redis takes no spaces, control characters or bytes above 126"
  end
  opts.connect_timeout = opts.connect_timeout or CONNECT_TIMEOUT
  opts.timeout = opts.timeout or TIMEOUT
  opts.max_connections = opts.max_connections or MAX_CONNECTIONS
  return opts
end

return settings
