-- URLs, references, queries and forms, dates: what asyncio.parsers has beside connections.
local t = require "helper"
local parsers = t.asyncio.parsers

TestURL = {}

function TestURL:test_is_taken_apart()
  local url = parsers.url "HTTPS://us%40er:pa%3Ass@Tea.Example:8443/a%20b/../c?d=e?f#g"
  t.assertEquals(url, {
    scheme = "https", user = "us@er", password = "pa:ss", host = "tea.example", port = 8443, default_port = 443,
    authority = "tea.example:8443", path = "/a%20b/../c", query_string = "d=e?f", fragment = "g",
    target = "/a%20b/../c?d=e?f",
  })
  t.assertEquals(parsers.url "http://h", {
    scheme = "http", host = "h", authority = "h", path = "/", target = "/", default_port = 80,
  })
  t.assertEquals(parsers.url("http://h:80/").authority, "h")
  t.assertEquals(parsers.url("ws://h:80/?").target, "/?")
  t.assertNil(parsers.url("ftp://h/").default_port)
end

function TestURL:test_hosts_that_are_addresses()
  local url = parsers.url "http://[2001:DB8::1]:8080/"
  t.assertEquals({ url.host, url.ipv6, url.authority }, { "2001:db8::1", true, "[2001:db8::1]:8080" })
  t.assertTrue(parsers.url("http://127.0.0.1/").ipv4)
  for _, host in ipairs { "127.1", "2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1", "127.0.0.01",
      "256.1.1.1", "1.2.3.4.5",
    "1.2.3.4.", "0x", "127.0.0x1" } do
    t.assertTrue(parsers.url("http://" .. host .. "/").odd_ipv4, host)
  end
  for _, host in ipairs { "h1", "1.example", "0x7f.example", "example.a1" } do
    local parts = parsers.url("http://" .. host)
    t.assertNil(parts.odd_ipv4 or parts.ipv4, host)
  end
end

function TestURL:test_ipv6_addresses()
  for _, host in ipairs { "::", "::1", "1::", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8",
      "::ffff:1.2.3.4",
    "1:2:3:4:5:6:1.2.3.4", "fe80::1:2" } do
    t.assertTrue((parsers.url("http://[" .. host .. "]/") or {}).ipv6, host)
  end
  for _, host in ipairs { "", ":", "1", ":::", "1:2", "1:2:3:4:5:6:7:8:9", "1::2::3", "12345::", "g::",
      "::1.2.3", "::1.2.3.256",
    "1:2:3:4:5:6:7:1.2.3.4", "1:2:3:4:5:6:7:8::", "fe80::1%25eth0", "1:", ":1", "::1:", "1.2.3.4::" } do
    t.assertNil(parsers.url("http://[" .. host .. "]/"), host)
  end
end

function TestURL:test_what_is_none_is_told()
  for text, why in pairs {
    [""] = "scheme", ["/a"] = "scheme", ["http"] = "scheme", ["http:"] = "//", ["http:/h"] = "//",
      ["http://"] = "host",
    ["http:///a"] = "host", ["http://h:x/"] = "port", ["http://h:/"] = "port", ["http://h:65536/"] = "port",
    ["http://a b/"] = "space", ["http://h/a b"] = "space", ["http://h/\n"] = "control",
      ["http://h/\xc3\xbc"] = "ASCII",
    ["http://h/%"] = "hex", ["http://h/%g0"] = "hex", ["http://h\\@e/"] = "backslash",
      ["http://a@b@c/"] = "several @",
    ["http://[::1"] = "bracket", ["http://[::1]x/"] = "bracket", ["http://[h]/"] = "IPv6",
      ["http://h/#a#b"] = "several #",
    ["http://h%41/"] = "host", ["http://h,i/"] = "host", ["1http://h/"] = "scheme", ["http://h\0/"] = "control",
  } do
    local url, err = parsers.url(text)
    t.assertNil(url, text)
    t.assertStrContains(err, why, false, text)
  end
end

TestReference = {}

-- RFC 3986 5.4, but for references of other schemes, which are no URLs here.
function TestReference:test_is_resolved()
  for reference, expected in pairs {
    ["g"] = "http://a/b/c/g", ["./g"] = "http://a/b/c/g", ["g/"] = "http://a/b/c/g/", ["/g"] = "http://a/g",
    ["//g"] = "http://g", ["?y"] = "http://a/b/c/d;p?y", ["g?y"] = "http://a/b/c/g?y",
      ["#s"] = "http://a/b/c/d;p?q#s",
    ["g#s"] = "http://a/b/c/g#s", ["g?y#s"] = "http://a/b/c/g?y#s", [";x"] = "http://a/b/c/;x",
      ["g;x"] = "http://a/b/c/g;x",
    [""] = "http://a/b/c/d;p?q", ["."] = "http://a/b/c/", ["./"] = "http://a/b/c/", [".."] = "http://a/b/",
    ["../"] = "http://a/b/", ["../g"] = "http://a/b/g", ["../.."] = "http://a/", ["../../g"] = "http://a/g",
    ["../../../g"] = "http://a/g", ["/./g"] = "http://a/g", ["/../g"] = "http://a/g", ["g."] = "http://a/b/c/g.",
    [".g"] = "http://a/b/c/.g", ["g.."] = "http://a/b/c/g..", ["./../g"] = "http://a/b/g",
      ["./g/."] = "http://a/b/c/g/",
    ["g/./h"] = "http://a/b/c/g/h", ["g/../h"] = "http://a/b/c/h", ["g;x=1/../y"] = "http://a/b/c/y",
    ["g?y/../x"] = "http://a/b/c/g?y/../x", ["https://x/y"] = "https://x/y",
  } do
    t.assertEquals(parsers.join_url("http://a/b/c/d;p?q", reference), expected, reference)
  end
  t.assertEquals(parsers.join_url("http://a", "g"), "http://a/g")
  t.assertEquals(parsers.join_url("http://a:1?q", "?r"), "http://a:1?r")
end

function TestReference:test_that_leads_nowhere_is_told()
  for _, reference in ipairs { "mailto:a@b", "javascript:x", "/a b", "\\\\evil", "//", "/\r\nX: y", "http:g" } do
    local url, why = parsers.join_url("http://a/", reference)
    t.assertNil(url, reference)
    t.assertEquals(type(why), "string")
  end
  t.assertNil(parsers.join_url("a", "b"))
end

function TestReference:test_an_authority()
  t.assertEquals({ parsers.parse_authority "Tea.example:80" }, { "tea.example", 80 })
  t.assertEquals({ parsers.parse_authority "[::1]" }, { "::1" })
  t.assertNil(parsers.parse_authority "u@h")
end

TestForm = {}

function TestForm:test_is_read()
  t.assertEquals(parsers.decode_form "a=1&b=x+y%21&a=2&&c&=e&a=3", {
    a = { "1", "2", "3" }, b = "x y!", c = "", [""] = "e",
  })
  t.assertEquals(parsers.decode_form "", {})
  for _, text in ipairs { "a=%", "%4=b", "a=%zz" } do
    local form, why = parsers.decode_form(text)
    t.assertNil(form)
    t.assertStrContains(why, "hex")
  end
end

function TestForm:test_has_a_number_of_pairs_that_is_bounded()
  local text = ("a=b&"):rep(1000)
  t.assertEquals(#parsers.decode_form(text).a, 1000)
  local form, why = parsers.decode_form(text .. "c=d")
  t.assertNil(form)
  t.assertStrContains(why, "too many")
  t.assertNotNil(parsers.decode_form("a&b", 2))
  t.assertNil(parsers.decode_form("a&b&c", 2))
end

function TestForm:test_is_written()
  t.assertEquals(parsers.encode_form { b = "x y&", a = { 1, 2 }, c = true, ["\xc3\xbc"] = "" },
    "a=1&a=2&b=x+y%26&c=true&%C3%BC=")
  t.assertEquals(parsers.encode_form { { "b", 1 }, { "a", { 2, 3 } } }, "b=1&a=2&a=3")
  t.assertEquals(parsers.encode_form {}, "")
  for _, wrong in ipairs { { a = print }, { a = { {} } }, { 5 }, { { 1, 2 } }, { { "a" } }, { [true] = "x" } } do
    t.assertErrorMsgContains("bad argument #1", parsers.encode_form, wrong)
  end
end

function TestForm:test_comes_back()
  for _ = 1, t.count(300) do
    local form = {}
    for _ = 1, math.random(0, 6) do
      local bytes = {}
      for i = 1, math.random(0, 40) do bytes[i] = string.char(math.random(0, 255)) end
      local text = table.concat(bytes)
      form[text .. "n"] = math.random(2) == 1 and text or { text, text .. "2" }
      t.assertEquals(parsers.decode(parsers.encode(text)), text)
      t.assertEquals(parsers.decode(parsers.encode(text, "/ ")), text)
    end
    t.assertEquals(parsers.decode_form(parsers.encode_form(form)), form)
  end
end

function TestForm:test_escapes()
  t.assertEquals(parsers.encode "a/b c~\xff\0", "a%2Fb%20c~%FF%00")
  t.assertEquals(parsers.encode("a/b", "/"), "a/b")
  t.assertEquals(parsers.decode "a+%2b%2B", "a+++")
  t.assertNil(parsers.decode "%2")
end

TestDate = {}

function TestDate:test_is_written_and_read()
  t.assertEquals(parsers.date(784111777), "Sun, 06 Nov 1994 08:49:37 GMT")
  t.assertEquals(parsers.date(0), "Thu, 01 Jan 1970 00:00:00 GMT")
  t.assertEquals(parsers.date(951782400), "Tue, 29 Feb 2000 00:00:00 GMT")
  t.assertEquals(parsers.date(-1), "Wed, 31 Dec 1969 23:59:59 GMT")
  for _ = 1, t.count(2000) do
    local seconds = math.random(-62167219200, 253402300799)
    t.assertEquals(parsers.parse_date(parsers.date(seconds)), seconds)
    t.assertEquals(parsers.date(seconds), os.date("!%a, %d %b ", seconds) .. os.date("!%Y", seconds):gsub("^%d+$",
      function(year) return ("%04d"):format(year) end) .. os.date("! %H:%M:%S GMT", seconds))
  end
  t.assertErrorMsgContains("year", parsers.date, 253402300800)
  t.assertErrorMsgContains("year", parsers.date, math.mininteger)
end

function TestDate:test_has_three_forms()
  t.assertEquals(parsers.parse_date "Sunday, 06-Nov-94 08:49:37 GMT", 784111777)
  t.assertEquals(parsers.parse_date "Sun Nov  6 08:49:37 1994", 784111777)
  t.assertEquals(parsers.parse_date "Sun Nov 16 08:49:37 1994", 784111777 + 864000)
end

function TestDate:test_that_is_none()
  for _, text in ipairs { "", "now", "784111777", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC",
    "Sun, 6 Nov 1994 08:49:37 GMT", "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT",
    "Sun, 00 Nov 1994 08:49:37 GMT", "sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT ",
    "Sun, 06 Nov 1994 08:60:37 GMT", "Sun Nov  6 08:49:37 94" } do
    t.assertNil(parsers.parse_date(text), text)
  end
end

TestWords = {}

function TestWords:test_of_statuses_and_names()
  t.assertEquals({ parsers.reason(200), parsers.reason(404), parsers.reason(299), parsers.reason(-1) },
    { "OK", "Not Found" })
  t.assertTrue(parsers.is_token "X-Tea!")
  for _, text in ipairs { "", "a b", "a:", "\xfc", "a\0" } do t.assertFalse(parsers.is_token(text)) end
end

t.finish()
