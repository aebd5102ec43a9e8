--- What is asked: a request as it is to be sent, and as it is sent again where a redirect leads.
-- @module asyncio.http.plans
local bodies = require "asyncio.http.bodies"
local check = require "asyncio.check"
local errors = require "asyncio.http.errors"
local parsers = require "asyncio.parsers"
local targets = require "asyncio.http.targets"
local unpacking = require "asyncio.http.unpacking"

local plans = {}

local TIMEOUT = 60           -- seconds, to the answer's head, and for more of the body
local CONNECT_TIMEOUT = 10   -- seconds, for the lookup, connecting and TLS together
local MAX_REDIRECTS = 5
local MAX_BODY = 64 << 20    -- bytes

local METHODS = { get = "GET", head = "HEAD", post = "POST", put = "PUT", patch = "PATCH", delete = "DELETE",
  options = "OPTIONS", trace = "TRACE" }
local IDEMPOTENT = { GET = true, HEAD = true, PUT = true, DELETE = true, OPTIONS = true, TRACE = true }
local CREDENTIALS = { authorization = true, cookie = true, ["proxy-authorization"] = true }
local OF_THE_BODY = { ["content-encoding"] = true, ["content-language"] = true, ["content-location"] = true,
  ["content-type"] = true, ["content-length"] = true, expect = true }

-- Headers

local BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(text)
  local out = {}
  for at = 1, #text, 3 do
    local a, b, c = text:byte(at, at + 2)
    local bits = a << 16 | (b or 0) << 8 | (c or 0)
    for shift = 18, 0, -6 do
      local i = (bits >> shift & 63) + 1
      out[#out + 1] = BASE64:sub(i, i)
    end
    if not b then out[#out - 1] = "=" end
    if not c then out[#out] = "=" end
  end
  return table.concat(out)
end

local function basic(user, password) return "Basic " .. base64(user .. ":" .. password) end

--- The value of Authorization that the option says.
function plans.check_auth(auth, n, name)
  if auth == nil then return nil end
  check.table(auth, n, name, "'auth': {user, password}")
  local user, password = auth[1], auth[2]
  for i, what in ipairs { "user", "password" } do
    local text = ("'auth': {user, password}, and the %s a string"):format(what)
    if type(auth[i]) ~= "string" then check.fail(n, name, text, auth[i]) end
  end
  for key in pairs(auth) do
    if key ~= 1 and key ~= 2 then check.error(n, name, "'auth': {user, password} expected, got more") end
  end
  if user:find ":" then check.error(n, name, "'auth': a user's name has no colon") end
  return basic(user, password)
end

function plans.check_headers(headers, n, name)
  if headers == nil then return nil end
  local ok, made = pcall(parsers.headers, headers)
  if not ok then check.error(n, name, "'headers': " .. bodies.reason(made)) end
  return made
end

--- Lists what is sent unless the program says it itself. said: which fields those are, in small letters
local function standard(client, said)
  local list = {}
  local function add(field, value)
    if value and not said[field:lower()] then list[#list + 1] = { field, value } end
  end
  add("User-Agent", "lua-asyncio")
  add("Accept", "*/*")
  add("Accept-Encoding", unpacking.CODINGS)
  if not client.pool then add("Connection", "close") end
  return list
end

--- Adds fields that nobody has said yet.
local function add_fields(list, fields, over, leave_out)
  if not fields then return end
  for field, value in pairs(fields) do
    local key = field:lower()
    if not (over and over:get(key)) and not leave_out(key) then list[#list + 1] = { field, value } end
  end
end

--- The fields that are sent. own: those of the request itself, client: of all its client's requests
local function fields_of(plan)
  local client, own = plan.client, plan.given
  local general = client.given
  if not own and not general and not plan.authorization and not plan.content_type and not plan.proxy then
    return client.plain
  end
  local function leave_out(key)
    if not plan.trusted and CREDENTIALS[key] then return true end
    return plan.redirected and not plan.body and OF_THE_BODY[key]
  end
  local function leave_out_of_general(key)
    return leave_out(key) or not plan.at_home and CREDENTIALS[key] or false
  end
  local said = {}
  for _, fields in ipairs { own or {}, general } do
    for field in pairs(fields) do said[field:lower()] = true end
  end
  local list = standard(client, said)
  add_fields(list, general, own, leave_out_of_general)
  add_fields(list, own, nil, leave_out)
  if plan.content_type and plan.body and not said["content-type"] then
    list[#list + 1] = { "Content-Type", plan.content_type }
  end
  if plan.authorization and plan.trusted and not (own and own.authorization) then
    list[#list + 1] = { "Authorization", plan.authorization }
  end
  local proxy = plan.proxy
  if proxy and proxy.user and plan.target.scheme == "http" and not said["proxy-authorization"] then
    list[#list + 1] = { "Proxy-Authorization", basic(proxy.user, proxy.password or "") }
  end
  return parsers.headers(list)
end

--- Whoever asks for it by itself has nothing else to say.
function plans.plain_headers(client) return parsers.headers(standard(client, {})) end

-- Routes

local context_numbers, contexts = setmetatable({}, { __mode = "k" }), 0

local function number_of(context)
  if context == true then return 0 end
  if not context_numbers[context] then
    contexts = contexts + 1
    context_numbers[context] = contexts
  end
  return context_numbers[context]
end

--- By which connection it goes: those with the same key will do.
local function route_of(plan)
  local target, proxy = plan.target, plan.proxy
  local key, secure = target.origin, target.scheme == "https"
  if secure then key = ("%s#%d"):format(key, number_of(plan.ssl)) end
  if plan.unix then key = ("%s unix:%s"):format(key, plan.unix) end
  local through
  if proxy then
    key = secure and key .. " " .. proxy.key or proxy.key
    through = parsers.headers {
      { "User-Agent", "lua-asyncio" },
      proxy.user and { "Proxy-Authorization", basic(proxy.user, proxy.password or "") } or nil,
    }
  end
  return {
    key = key, target = target, unix = plan.unix, proxy = proxy, ssl = plan.ssl,
    connect_timeout = plan.connect_timeout, proxy_headers = through,
  }
end

local function finish(plan)
  plan.route = route_of(plan)
  plan.headers = fields_of(plan)
  plan.sent_target = plan.proxy and plan.target.scheme == "http" and plan.target.href or plan.target.target
  local expect = plan.body and plan.headers.expect
  plan.expects = expect and expect:lower() == "100-continue" and plan.body.text ~= "" or false
  return plan
end

-- Arguments

--- What of a client's options is for each request, checked.
function plans.check_options(opts, n, name)
  opts.authorization = plans.check_auth(opts.auth, n, name)
  opts.given = plans.check_headers(opts.headers, n, name)
  opts.proxy = opts.proxy and targets.check_proxy(opts.proxy, n, name)
  if opts.proxy then
    opts.proxy.key = ("proxy:%s@%s:%d"):format(opts.proxy.user or "", opts.proxy.host, opts.proxy.port)
  end
  if opts.ssl ~= nil and opts.ssl ~= true then
    require "asyncio.securing".check_context(opts.ssl, "client", n, name, "'ssl': true or ")
  end
  if opts.unix then
    require "asyncio.sockets".unix_address(opts.unix, n, name, "'unix': ")
    if opts.proxy then check.error(n, name, "'unix' does not go with 'proxy'") end
  end
  return opts
end

local function check_method(method, n, name)
  if method == nil then return "GET" end
  method = METHODS[method:lower()] or method
  if not parsers.is_token(method) then
    check.error(n, name, ("'method': a method's name expected, got %q"):format(method))
  end
  if method:upper() == "CONNECT" then
    check.error(n, name, "'method': CONNECT is for proxies: see 'proxy'")
  end
  return method
end

--- A Content-Length by hand agrees with the body.
local function check_length(plan, n, name)
  local said = plan.given and plan.given["content-length"]
  if not said then return end
  local body = plan.body
  local length = not body and 0 or body.text and #body.text or body.length
  local number = said:find "^%d+$" and math.tointeger(tonumber(said))
  if not number or length and number ~= length then
    local text = "'headers': Content-Length is %s, but the body has %s bytes"
    check.error(n, name, text:format(said, length or "?"))
  end
end

local function check_query(query, n, name)
  if query == nil then return nil end
  local ok, text = pcall(parsers.encode_form, query)
  if not ok then check.error(n, name, "'query': " .. bodies.reason(text)) end
  return text
end

local function choose(own, general, default)
  if own ~= nil then return own end
  if general ~= nil then return general end
  return default
end

--- What a call asks for. client: what holds for all its requests; opts: those of this one, taken; n: which
-- argument they are
function plans.new(client, url, opts, n, name)
  plans.check_options(opts, n, name)
  local query, base = check_query(opts.query, n, name), client.base and client.base.href
  local target = targets.check(url, query, base, 1, name, n == 1 and "'url': " or "")
  local body, content_type = bodies.check(opts.body, opts.form, n, name)
  local at_home = not client.base or client.base.origin == target.origin
  local own = opts.authorization or target.user and basic(target.user, target.password or "")
  local unix, proxy = opts.unix, opts.proxy
  if not unix and not proxy then unix, proxy = client.unix, client.proxy end
  local plan = {
    client = client, target = target, method = check_method(opts.method, n, name),
    body = body, content_type = content_type, given = opts.given,
    authorization = own or at_home and client.authorization or nil,
    trusted = true, at_home = at_home, redirected = false, hops = 0,
    ssl = choose(opts.ssl, client.ssl, true), unix = unix, proxy = proxy,
    max_redirects = choose(opts.max_redirects, client.max_redirects, MAX_REDIRECTS),
    max_body = choose(opts.max_body, client.max_body, MAX_BODY),
    timeout = choose(opts.timeout, client.timeout, TIMEOUT),
    connect_timeout = choose(opts.connect_timeout, client.connect_timeout, CONNECT_TIMEOUT),
    total_timeout = choose(opts.total_timeout, client.total_timeout),
  }
  check_length(plan, n, name)
  return finish(plan)
end

--- Whether it does no harm to send it a second time.
function plans.can_repeat(plan) return IDEMPOTENT[plan.method] and (not plan.body or plan.body.again) end

-- Redirects

local FOLLOWED = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

--- What becomes of method and body, as fetch has it; nil: it cannot be sent again.
local function asked_again(plan, status)
  local method, body = plan.method, plan.body
  if status == 303 and method ~= "GET" and method ~= "HEAD" or status < 303 and method == "POST" then
    return "GET", nil
  end
  if body and not body.again then return nil end
  return method, body
end

--- Where that leads, if we go there: not from https to http, and not away from a unix socket.
local function new_target(plan, answer)
  local location = answer.headers.location
  local target = location and targets.follow(plan.target, location)
  if not target or plan.target.scheme == "https" and target.scheme == "http" then return nil end
  if plan.unix and target.origin ~= plan.target.origin then return nil end
  return target
end

--- The request that an answer leads to; nil: none that could be made.
function plans.redirected(plan, answer)
  if not FOLLOWED[answer.status] or plan.max_redirects == 0 then return nil end
  local target = new_target(plan, answer)
  local method, body = asked_again(plan, answer.status)
  if not target or not method then return nil end
  if plan.hops >= plan.max_redirects then
    error(errors.TooManyRedirects {
      message = ("%s %s: more than %d redirects (max_redirects)"):format(plan.method,
        plan.first or plan.target.href, plan.max_redirects),
      response = answer,
    }, 0)
  end
  local new = {}
  for key, value in pairs(plan) do new[key] = value end
  new.target, new.method, new.body = target, method, body
  new.first, new.hops, new.redirected = plan.first or plan.target.href, plan.hops + 1, true
  new.trusted = plan.trusted and target.origin == plan.target.origin
  new.at_home = plan.at_home and new.trusted
  return finish(new)
end

return plans
