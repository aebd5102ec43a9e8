-- resume_spec.lua - sessions that are taken up again, by our clients and at our servers.
local t = require "helper"
local peers = require "peers"
local secure = require "secure"

local certificates = secure.certificates

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

for _, version in ipairs { "tls1_2", "tls1_3" } do
  TestServer["test_takes_sessions_of_openssl_again_" .. version] = function()
    peers.need "openssl"
    t.real(function()
      local server <close> = serve(secure.server_context())
      local session <close> = peers.file()
      for i, option in ipairs { "-sess_out", "-sess_in" } do
        local ended = peers.background(("(echo hello; sleep 0.3) | openssl s_client -connect 127.0.0.1:%d -%s "
          .. "-CAfile %s -verify_return_error -servername localhost %s %s -ign_eof 2>&1"):format(peers.port(server),
            version, certificates.file "root.pem", option, session.name))
        t.assertStrMatches(ended(), i == 1 and ".*\nNew, .*false\n.*" or ".*\nReused, .*true\n.*")
      end
    end)
  end
end

t.finish()
