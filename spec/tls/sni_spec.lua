-- sni_spec.lua - one server, several names: which certificate a client is shown.
local t = require "helper"
local secure = require "secure"

local asyncio, ssl, certificates = t.asyncio, secure.ssl, secure.certificates

--- What a client that asks for `name` meets at a server with those names: the certificate's subject, what the server
-- says the name is, its ALPN; or the errors of both.
local function ask(sni, name, opts)
  opts = opts or {}
  local result
  t.run(function(reports)
    local _, near <close>, _, far = asyncio.stream_pair()
    local _ <close> = far
    local context = opts.server or secure.server_context { sni = sni }
    local client = opts.client or secure.client_context { verify_mode = "none", alpn_protocols = opts.alpn }
    if opts.alpn then client:set_alpn_protocols(opts.alpn) end
    local failed, refused = secure.shake(near, far, client, context, { server_hostname = name })
    if failed or refused then
      result = { failed = failed, refused = refused }
    else
      local certificate = near:get_extra_info "peercert"
      result = { subject = certificate.subject.CN, name = far:get_extra_info "server_name",
        alpn = near:get_extra_info "alpn_protocol", context = far:get_extra_info "ssl_context" }
    end
    if opts.reports then opts.reports(reports) end
    near:abort()
    far:abort()
  end)
  return result
end

local function contexts()
  return { ["a.example"] = secure.server_context(nil, "a"), ["b.example"] = secure.server_context(nil, "b") }
end

TestTable = {}

function TestTable:test_has_a_context_for_each_name_without_case()
  t.assertEquals(ask(contexts(), "a.example").subject, "a.example")
  t.assertEquals(ask(contexts(), "B.Example").subject, "b.example")
  t.assertEquals(ask(contexts(), "a.example").name, "a.example")
end

function TestTable:test_does_not_have_every_name_and_then_the_context_itself_answers()
  t.assertEquals(ask(contexts(), "c.example").subject, "localhost")
  t.assertEquals(ask(contexts(), "127.0.0.1").subject, "localhost")
end

function TestTable:test_is_enough_of_a_certificate()
  local context = ssl.SSLContext { purpose = "server", sni = contexts() }
  t.assertEquals(ask(nil, "a.example", { server = context }).subject, "a.example")
  local result = ask(nil, "c.example", { server = ssl.SSLContext { purpose = "server", sni = contexts() } })
  t.assert_isinstance(result.failed, asyncio.SSLError)
  t.assert_isinstance(result.refused, asyncio.SSLError)
end

function TestTable:test_is_checked_when_it_is_given()
  t.assertErrorMsgContains("sni", secure.server_context, { sni = { ["a.example"] = 5 } })
  t.assertErrorMsgContains("sni", secure.server_context, { sni = { secure.server_context() } })
  t.assertErrorMsgContains("sni", secure.server_context, { sni = { ["a.example"] = secure.client_context() } })
end

TestFunction = {}

function TestFunction:test_is_asked_for_each_connection()
  local names, list = {}, contexts()
  local function choose(name)
    names[#names + 1] = name
    return list[name]
  end
  t.assertEquals(ask(choose, "a.example").subject, "a.example")
  t.assertEquals(ask(choose, "c.example").subject, "localhost")
  t.assertEquals(names, { "a.example", "c.example" })
end

function TestFunction:test_refuses_by_an_error()
  local result = ask(function(name) error(asyncio.SSLError("no tenant " .. name)) end, "a.example")
  t.assertEquals(t.assert_isinstance(result.failed, asyncio.SSLError).reason, "TLSV1_UNRECOGNIZED_NAME")
  t.assertStrContains(t.assert_isinstance(result.refused, asyncio.SSLError).message, "no tenant a.example")
end

--- What the loop's handler hears of a connection at that `sni`, which the client is refused by.
local function heard(sni)
  local list
  local result = ask(sni, "a.example", { reports = function(reports) list = table.move(reports, 1, #reports, 1, {})
    for i in ipairs(list) do reports[i] = nil end
  end })
  t.assertEquals(t.assert_isinstance(result.failed, asyncio.SSLError).reason, "TLSV1_UNRECOGNIZED_NAME")
  t.assertEquals(#list, 1)
  t.assertStrContains(list[1].message, "'sni' failed")
  return list[1], result.refused
end

function TestFunction:test_that_fails_is_reported()
  local function choose() local _ = asyncio.nothing.there end
  local report, refused = heard(choose)
  t.assertStrContains(report.exception, "sni_spec.lua")
  t.assertStrContains(report.traceback, "sni_spec.lua")
  t.assertStrContains(refused.message, "sni_spec.lua")
end

function TestFunction:test_that_fails_with_a_table_is_reported_as_it_is()
  local err = { "of the program" }
  t.assertIs(heard(function() error(err) end).exception, err)
  t.assertStrContains(tostring(heard(function() asyncio.sleep(1) end).exception), "cannot wait outside of a task")
  local report, refused = heard(function() error(asyncio.OSError "odd") end)
  t.assert_isinstance(report.exception, asyncio.OSError)
  t.assertStrContains(refused.message, "odd")
end

function TestFunction:test_that_gives_no_context_is_reported()
  t.assertStrContains(heard(function() return "a.example" end).exception, "a context or nil expected, got string")
  t.assertStrContains(heard(function() return secure.client_context() end).exception, "got a client's")
end

function TestFunction:test_may_not_wait()
  local said
  local result = ask(function()
    local ok, err = pcall(asyncio.sleep, 1)
    said = not ok and tostring(err)
  end, "a.example")
  t.assertEquals(result.subject, "localhost")
  t.assertStrMatches(said, ".+")
end

TestChosen = {}

function TestChosen:test_context_holds_with_its_protocols()
  local list = contexts()
  list["a.example"]:set_alpn_protocols { "h2" }
  local base = secure.server_context { sni = list }
  base:set_alpn_protocols { "http/1.1" }
  t.assertEquals(ask(nil, "a.example", { server = base, alpn = { "http/1.1", "h2" } }).alpn, "h2")
end

function TestChosen:test_context_holds_with_its_demand_for_a_certificate_and_its_authorities()
  local function strict(authority)
    return secure.server_context({ verify_mode = "required", cafile = certificates.file(authority) }, "a")
  end
  local function client()
    local context = secure.client_context { verify_mode = "none", maximum_version = "TLSv1.2" }
    context:load_cert_chain(certificates.client.certfile, certificates.client.keyfile)
    return context
  end
  local list = { ["a.example"] = strict "root.pem" }
  t.assertEquals(ask(list, "a.example", { client = client() }).subject, "a.example")
  local nobody = secure.client_context { verify_mode = "none", maximum_version = "TLSv1.2" }
  t.assert_isinstance(ask(list, "a.example", { client = nobody }).refused, asyncio.SSLError)
  list = { ["a.example"] = strict "stranger.pem" }
  t.assert_isinstance(ask(list, "a.example", { client = client() }).refused, asyncio.SSLCertVerificationError)
end

function TestChosen:test_context_holds_with_its_versions()
  local list = { ["a.example"] = secure.server_context({ minimum_version = "TLSv1.3" }, "a") }
  local old = secure.client_context { verify_mode = "none", maximum_version = "TLSv1.2" }
  t.assert_isinstance(ask(list, "a.example", { client = old }).refused, asyncio.SSLError)
end

function TestChosen:test_context_is_what_get_extra_info_tells()
  local list = contexts()
  t.assertIs(ask(list, "b.example").context, list["b.example"])
end

TestSecondHello = {}

--- An extension of the hello.
local function extension(number, content) return string.pack(">I2s2", number, content) end

--- A client's hello by hand; without a key share its server asks for another one (HelloRetryRequest).
local function hello(name, share)
  local named = name and extension(0, string.pack(">s2", "\0" .. string.pack(">s2", name))) or ""
  local body = ("\3\3%s\0%s\1\0%s"):format(("r"):rep(32), string.pack(">s2", "\x13\x01"), string.pack(">s2", named
    .. extension(43, "\2\3\4") .. extension(10, string.pack(">s2", "\0\x1d"))
    .. extension(13, string.pack(">s2", "\4\3\8\4"))
    .. extension(51, string.pack(">s2", share and "\0\x1d" .. string.pack(">s2", share) or ""))))
  return "\x16\3\1" .. string.pack(">s2", "\1" .. string.pack(">s3", body))
end

--- What a server with that context answers to a second hello, as the type of the record and its bytes, and what its
-- handshake has come to.
local function answer(context, first, second)
  local kind, bytes, refused
  t.run(function()
    local reader, writer, _, far = asyncio.stream_pair()
    local served = asyncio.create_task(function()
      return select(2, pcall(far.start_tls, far, context, { server_side = true }))
    end)
    local function record()
      local head, content
      repeat
        head = reader:readexactly(5)
        content = reader:readexactly(string.unpack(">I2", head, 4))
      until head:byte() ~= 20 -- ChangeCipherSpec, which says nothing
      return head:byte(), content
    end
    writer:send(hello(first))
    t.assertEquals(record(), 22)
    writer:send(hello(second, ("k"):rep(32)))
    kind, bytes = record()
    writer:abort()
    refused = asyncio.await(served)
    far:abort()
  end)
  return kind, bytes, refused
end

function TestSecondHello:test_may_not_name_another_host()
  local list = contexts()
  local bases = { secure.server_context(), secure.server_context { sni = list },
    secure.server_context { sni = function(name) return list[name] end } }
  local names = { "a.example", "b.example", "c.example", false }
  for _, base in ipairs(bases) do
    for _, first in ipairs(names) do
      for _, second in ipairs(names) do
        local kind, bytes, refused = answer(base, first, second)
        if first == second then
          t.assertEquals({ kind, bytes:byte() }, { 22, 2 }) -- goes on
        else
          t.assertEquals({ kind, bytes }, { 21, "\2\x2f" }) -- alert: illegal_parameter
          t.assertStrContains(t.assert_isinstance(refused, asyncio.SSLError).message, "another name in its second")
        end
      end
    end
  end
end

t.finish()
