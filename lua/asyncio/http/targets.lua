--- Where a request goes: URLs, their origins, and what is sent of them.
-- @module asyncio.http.targets
local check = require "asyncio.check"
local parsers = require "asyncio.parsers"

local targets = {}

--- A URL that a request can go to; nil and why it can't.
-- What `parsers.url` gives, with `origin`; `port`, as it is connected to; `href`, without the fragment
function targets.of(url)
  local target, why = parsers.url(url)
  if not target then return nil, why end
  if target.scheme ~= "http" and target.scheme ~= "https" then
    return nil, ("the scheme is %q, not http or https"):format(target.scheme)
  end
  if target.odd_ipv4 then
    local text = "the host %q is a number that programs read in different ways: write it as four decimal ones"
    return nil, text:format(target.host)
  end
  target.port = target.port or target.default_port
  target.origin = ("%s://%s:%d"):format(target.scheme, target.host, target.port)
  target.href = ("%s://%s%s"):format(target.scheme, target.authority, target.target)
  return target
end

--- The URL that an argument says, with what `query` adds. base: what it is relative to, or nil
function targets.check(url, query, base, n, name, prefix)
  if type(url) ~= "string" then check.fail(n, name, prefix .. "URL", url) end
  local text = url
  if base then
    local joined, why = parsers.join_url(base, url)
    if not joined then check.error(n, name, ("%sURL expected, got %q: %s"):format(prefix, url, why)) end
    text = joined
  end
  local target, why = targets.of(text)
  if not target then check.error(n, name, ("%sURL expected, got %q: %s"):format(prefix, url, why)) end
  if not query or query == "" then return target end
  local mark = target.query_string and (target.query_string == "" and "" or "&") or "?"
  return targets.of(target.href .. mark .. query)
end

--- Where an answer's Location leads; nil: nowhere that one can go
function targets.follow(from, location)
  local url = parsers.join_url(from.href, location)
  return url and targets.of(url) or nil
end

--- The proxy that an argument says.
function targets.check_proxy(url, n, name)
  if type(url) ~= "string" then check.fail(n, name, "'proxy': URL", url) end
  local proxy, why = targets.of(url)
  if not proxy then check.error(n, name, ("'proxy': URL expected, got %q: %s"):format(url, why)) end
  if proxy.scheme ~= "http" then
    check.error(n, name, ("'proxy': http://host:port expected, got %q: a proxy is spoken to in the clear, "
      .. "https goes through it"):format(url))
  end
  return proxy
end

return targets
