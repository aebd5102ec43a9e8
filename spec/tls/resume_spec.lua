-- resume_spec.lua - sessions that are taken up again, by our clients and at our servers.
local t = require "helper"
local peers = require "peers"
local secure = require "secure"

local asyncio, certificates = t.asyncio, secure.certificates

--- One connection, a line each way; whether both sides say that the session was resumed.
local function visit(server, context, opts)
  local reader, writer <close> = secure.connect(server, secure.joined({ ssl = context }, opts))
  writer:send "hello\n"
  local far = reader:readline() == "true\n"
  t.assertEquals(writer:get_extra_info "session_reused", far)
  return far
end

local function serve(context, opts)
  return secure.serve(function(reader, writer)
    reader:readline()
    writer:send(tostring(writer:get_extra_info "session_reused"), "\n")
  end, secure.joined({ ssl = context }, opts))
end

local function client(version, opts)
  return secure.client_context(secure.joined({ minimum_version = version, maximum_version = version }, opts))
end

TestClient = {}

for _, version in ipairs(secure.VERSIONS) do
  TestClient["test_resumes_by_itself_" .. version] = function()
    t.real(function()
      local server <close> = serve(secure.server_context())
      local context = client(version)
      local seen = {}
      for i = 1, 4 do seen[i] = visit(server, context) end
      t.assertEquals(seen, { false, true, true, true })
    end)
  end

  TestClient["test_resumes_in_no_other_context_or_name_or_port_" .. version] = function()
    t.real(function()
      local both = secure.server_context { sni = { ["a.example"] = secure.server_context(nil, "a") } }
      local server <close> = serve(both)
      local other <close> = serve(both)
      local context = client(version)
      t.assertFalse(visit(server, context))
      t.assertFalse(visit(server, client(version)))
      t.assertFalse(visit(server, context, { server_hostname = "a.example" }))
      t.assertFalse(visit(other, context))
      t.assertTrue(visit(server, context))
    end)
  end

  TestClient["test_is_still_known_by_its_certificate_" .. version] = function()
    t.real(function()
      local server_context = secure.server_context { verify_mode = "required", cafile = certificates.file "root.pem" }
      local names = {}
      local server <close> = secure.serve(function(reader, writer)
        names[#names + 1] = writer:get_extra_info "peercert".subject.CN
        reader:readline()
        writer:send(tostring(writer:get_extra_info "session_reused"), "\n")
      end, { ssl = server_context })
      local context = client(version)
      context:load_cert_chain(certificates.client.certfile, certificates.client.keyfile)
      t.assertEquals({ visit(server, context), visit(server, context) }, { false, true })
      t.assertEquals(names, { "Ada Lovelace", "Ada Lovelace" })
    end)
  end

  TestClient["test_still_knows_the_servers_certificate_" .. version] = function()
    t.real(function()
      local server <close> = serve(secure.server_context())
      local context = client(version)
      visit(server, context)
      local reader, writer <close> = secure.connect(server, { ssl = context })
      writer:send "hello\n"
      t.assertEquals(reader:readline(), "true\n")
      t.assertEquals(writer:get_extra_info "peercert".subject.CN, "localhost")
      t.assertTrue(writer:get_extra_info "peercert".verified)
    end)
  end
end

function TestClient:test_does_not_where_the_server_gives_no_tickets()
  t.real(function()
    local server <close> = serve(secure.server_context { num_tickets = 0 })
    local context = client "TLSv1.3"
    t.assertEquals({ visit(server, context), visit(server, context) }, { false, false })
  end)
end

TestServer = {}

--- A visit of OpenSSL's client: "New" or "Reused", and what the server says; see `openssl s_client` for the options.
--- What it says itself may stand on the same line.
local function call(server, options)
  local ended = peers.background(("(echo hello; sleep 0.3) | openssl s_client -connect 127.0.0.1:%d -ign_eof "
    .. "-CAfile %s %s 2>&1"):format(peers.port(server), certificates.file "root.pem", options))
  local output = ended()
  return output:match "\n(%u%l+), ", output:match "said: [^\n]*", output
end

for _, version in ipairs { "tls1_2", "tls1_3" } do
  TestServer["test_takes_sessions_of_openssl_again_but_for_the_same_name_only_" .. version] = function()
    peers.need "openssl"
    t.real(function()
      local chosen = secure.server_context()
      local context = secure.server_context { sni = function() return chosen end }
      local server <close> = secure.serve(function(reader, writer)
        reader:readline()
        writer:send(("said: %s %s\n"):format(writer:get_extra_info "server_name",
          writer:get_extra_info "session_reused"))
      end, { ssl = context })
      for option, domain in pairs { [""] = "example", ["-no_ticket"] = ("long."):rep(8) .. "example" } do
        local session <close> = peers.file()
        local seen = {}
        for i, name in ipairs { "-servername a." .. domain, "-servername a." .. domain, "-servername b." .. domain,
          "-noservername", "-servername A." .. domain } do
          local how, said = call(server, ("-%s %s %s %s %s"):format(version, option, name,
            i == 1 and "-sess_out" or "-sess_in", session.name))
          seen[i] = (how .. " " .. said):gsub(domain, "example")
        end
        t.assertEquals(seen, { "New said: a.example false", "Reused said: a.example true",
          "New said: b.example false", "New said: nil false", "Reused said: a.example true" })
      end
    end)
  end
end

--- A server that lets nobody in without a certificate.
local function strict(version)
  return secure.serve(function(reader, writer)
    reader:readline()
    writer:send("said: ", tostring(writer:get_extra_info "session_reused"), "\n")
  end, { ssl = secure.server_context { verify_mode = "required", cafile = certificates.file "root.pem",
    minimum_version = version, maximum_version = version } })
end

function TestServer:test_resumes_nobody_whose_certificate_has_expired_meanwhile()
  peers.need "openssl"
  t.real(function()
    local ends = os.time() + (t.slow and 60 or 8)
    local short, visits = certificates.short(ends), {}
    local servers <close> = setmetatable({}, { __close = function(all)
      for _, server in ipairs(all) do server:close() end
    end })
    for _, version in ipairs(secure.VERSIONS) do
      local server, context = strict(version), client(version, short)
      servers[#servers + 1] = server
      visits[#visits + 1] = function()
        local ok, result = pcall(function()
          local reader, writer <close> = secure.connect(server, { ssl = context })
          writer:send "hello\n"
          return reader:readline()
        end)
        return ok and result:match "true" or ok and "new" or result.reason
      end
    end
    local cached <close> = strict "TLSv1.2"
    local session <close> = peers.file()
    local option = "-sess_out"
    visits[3] = function()
      local how, said, output = call(cached, ("-tls1_2 -no_ticket -cert %s -cert_chain %s -key %s %s %s"):format(
        short.certfile, short.certfile, short.keyfile, option, session.name))
      option = "-sess_in"
      return said and how or output:match "alert certificate expired"
    end
    local function each()
      local seen = {}
      for i, go in ipairs(visits) do seen[i] = go() end
      return seen
    end
    t.assertEquals(each(), { "new", "new", "New" })
    t.assertEquals(each(), { "true", "true", "Reused" })
    asyncio.sleep(math.max(ends + 1 - os.time(), 0))
    t.assertEquals(each(), { "SSLV3_ALERT_CERTIFICATE_EXPIRED", "SSLV3_ALERT_CERTIFICATE_EXPIRED",
      "alert certificate expired" })
  end)
end

t.finish { sampled = true }
