-- client_redirect_spec.lua - where answers lead: redirects as fetch follows them.
local t = require "helper"
local raw = require "http.raw"

local asyncio = t.asyncio
local http = asyncio.http

local function redirect(status, location, body)
  return raw.answer(body or "", location and ("Location: %s\r\n"):format(location) or "", status .. " Elsewhere")
end

--- Calls fn(url, requests): the server answers /STATUS/TARGET with a redirect there, all else with what was asked.
local function redirecting(fn, clock)
  raw.with(function(request)
    local status, location = request.target:match "^/(3%d%d)(.*)$"
    if status then return redirect(status, location ~= "" and location or nil) end
    return raw.answer(request.method .. " " .. request.target .. " " .. (request.body or ""))
  end, function(url, _, requests) fn(url, requests) end, clock)
end

TestRedirect = {}

local BECOMES = { -- status, method, what it is then
  { 301, "GET", "GET" }, { 302, "GET", "GET" }, { 303, "GET", "GET" }, { 307, "GET", "GET" }, { 308, "GET", "GET" },
  { 301, "POST", "GET" }, { 302, "POST", "GET" }, { 303, "POST", "GET" }, { 307, "POST", "POST" },
  { 308, "POST", "POST" }, { 301, "PUT", "PUT" }, { 302, "DELETE", "DELETE" }, { 303, "PUT", "GET" },
  { 303, "DELETE", "GET" },
}

function TestRedirect:test_the_method_and_the_body_become_what_fetch_has_them_become()
  for _, case in ipairs(BECOMES) do
    local status, method, new = table.unpack(case)
    redirecting(function(url)
      local body = method ~= "GET" and "body" or nil
      local answer = http.request(url .. status .. "/there", { method = method, body = body })
      local left = new == method and body or ""
      t.assertEquals({ answer:read(), answer.url, #answer.history, answer.history[1].status },
        { ("%s /there %s"):format(new, left), url .. "there", 1, status })
    end)
  end
end

function TestRedirect:test_head_stays_head()
  redirecting(function(url, requests)
    t.assertEquals(http.head(url .. "303/there").status, 200)
    t.assertEquals(requests[2].line, "HEAD /there HTTP/1.1")
  end)
end

function TestRedirect:test_what_described_the_body_goes_with_it()
  redirecting(function(url, requests)
    local headers = { ["Content-Language"] = "en", ["X-Tea"] = "1" }
    http.post(url .. "303/there", { form = { a = 1 }, headers = headers }):read()
    local h = requests[2].headers
    t.assertEquals({ h["content-type"], h["content-length"], h["content-language"], h["x-tea"] },
      { nil, nil, nil, "1" })
    http.post(url .. "307/there", { form = { a = 1 } }):read()
    t.assertEquals({ requests[4].headers["content-type"], requests[4].body },
      { "application/x-www-form-urlencoded", "a=1" })
  end)
end

function TestRedirect:test_several_are_listed_in_order()
  raw.with(function(request)
    local n = tonumber(request.target:sub(2))
    return n < 4 and redirect(302, n + 1) or raw.answer "there"
  end, function(url)
    local answer, urls = http.get(url .. "1"), {}
    for i, each in ipairs(answer.history) do urls[i] = each.url end
    t.assertEquals({ answer:read(), answer.url, urls }, { "there", url .. "4", { url .. "1", url .. "2", url .. "3" } })
  end)
end

function TestRedirect:test_over_the_limit_it_raises_with_the_last_answer()
  redirecting(function(url, requests)
    local function loop() return http.get(url .. "302/302", { max_redirects = 0 }) end
    t.assertEquals({ loop().status, #requests }, { 302, 1 })
  end)
  raw.with(redirect(302, "/again"), function(url, _, requests)
    local err = t.assert_raises(http.TooManyRedirects, http.get, url, { max_redirects = 3 })
    t.assertEquals({ #requests, err.response.status }, { 4, 302 })
    t.assertStrContains(tostring(err), "more than 3 redirects")
    t.assert_raises(http.TooManyRedirects, http.get, url)
    t.assertEquals(#requests, 10)
  end)
end

--- Such an answer is returned, and nothing else is asked.
local function returned(location, opts, fn)
  raw.with(redirect(302, location, "the page"), function(url, _, requests)
    local answer = (fn or http.get)(url, opts)
    t.assertEquals({ answer.status, answer:read(), #requests, answer.history }, { 302, "the page", 1, {} })
  end)
end

function TestRedirect:test_what_leads_nowhere_is_returned()
  returned(nil)
  for _, location in ipairs { "ftp://x/", "javascript:x", "http://", "http://a b/", "http://2130706433/",
    "http://127.1/", "http://0x7f.0.0.1/" } do
    returned(location)
  end
end

function TestRedirect:test_a_body_that_cannot_be_sent_again_stops_it()
  raw.with(redirect(307, "/there"), function(url, _, requests)
    local pieces = { "once" }
    local answer = http.post(url, { body = function() return table.remove(pieces) end })
    t.assertEquals({ answer.status, #requests }, { 307, 1 })
  end)
end

function TestRedirect:test_one_to_get_needs_no_body()
  redirecting(function(url)
    local pieces = { "once" }
    local answer = http.post(url .. "303/there", { body = function() return table.remove(pieces) end })
    t.assertEquals(answer:read(), "GET /there ")
  end)
end

function TestRedirect:test_the_body_of_one_is_read_or_dropped_and_the_connection_used_again()
  local seen = {}
  raw.with(function(request, _, _, number)
    seen[#seen + 1] = number
    if request.target == "/small" then return redirect(302, "/there", "moved") end
    if request.target == "/large" then return redirect(302, "/there", ("x"):rep(200000)) end
    return raw.answer "there"
  end, function(url)
    local client <close> = http.Client { base_url = url }
    local answer = client:get "small"
    t.assertEquals({ answer:read(), answer.history[1]:read(), seen }, { "there", "moved", { 1, 1 } })
    t.assertEquals(client:get("large"):read(), "there")
    t.assertEquals(seen, { 1, 1, 1, 2 })
  end)
end

-- Across origins -------------------------------------------------------------------------------------

TestOrigins = {}

local SECRETS = { Authorization = "a", Cookie = "b", ["Proxy-Authorization"] = "c", ["X-Tea"] = "green" }

local function secrets_of(request)
  local h = request.headers
  return { h.authorization or "", h.cookie or "", h["proxy-authorization"] or "", h["x-tea"] or "" }
end

function TestOrigins:test_within_one_credentials_stay()
  redirecting(function(url, requests)
    http.get(url .. "302/there", { headers = SECRETS }):read()
    t.assertEquals(secrets_of(requests[2]), { "a", "b", "c", "green" })
  end)
end

function TestOrigins:test_at_another_one_they_are_dropped_also_on_the_way_back()
  t.run(function()
    local home, seen = nil, {}
    local away <close> = raw.serve(function(request)
      seen[#seen + 1] = request
      return redirect(307, home .. "back")
    end)
    local server <close> = raw.serve(function(request)
      seen[#seen + 1] = request
      if request.target == "/" then return redirect(307, raw.url(away, "/x")) end
      return raw.answer "back"
    end)
    home = raw.url(server)
    t.assertEquals(http.get(home, { headers = SECRETS }):read(), "back")
    t.assertEquals({ secrets_of(seen[1]), secrets_of(seen[2]), secrets_of(seen[3]) },
      { { "a", "b", "c", "green" }, { "", "", "", "green" }, { "", "", "", "green" } })
    local client <close> = http.Client { base_url = home, auth = { "u", "p" }, headers = { Cookie = "z" } }
    client:get("/"):read()
    t.assertEquals({ secrets_of(seen[4])[2], secrets_of(seen[5])[1], secrets_of(seen[5])[2], secrets_of(seen[6])[1] },
      { "z", "", "", "" })
  end)
end

function TestOrigins:test_a_location_s_own_credentials_are_not_used()
  raw.with(function(request)
    if request.target == "/" then return redirect(302, "http://u:p@" .. request.headers.host .. "/there") end
    return raw.answer(request.headers.authorization or "none")
  end, function(url) t.assertEquals(http.get(url):read(), "none") end)
end

function TestOrigins:test_the_fragment_is_not_sent()
  raw.with(function(request)
    if request.target == "/" then return redirect(302, "/there#part") end
    return raw.answer(request.target)
  end, function(url)
    local answer = http.get(url)
    t.assertEquals({ answer:read(), answer.url }, { "/there", url .. "there" })
  end)
end

t.finish()
