-- tls_spec.lua - TLS where it has gone wrong once. What was wrong here Lua's own assertions have told (make asan).
local t = require "helper"
local identity = require "identity"

local asyncio = t.asyncio

TestServer = {}

function TestServer:test_that_is_let_go_while_it_looks_at_handshakes_is_not_run_again()
  local ssl = asyncio.ssl
  local client = ssl.create_default_context { cadata = identity.cert }
  for i = 1, 30 do
    t.real(function()
      local writer
      local context = ssl.create_server_context {
        certfile = identity.cert, keyfile = identity.key, sni = function() writer:close() end,
      }
      local server = asyncio.start_server(print, "127.0.0.1", 0, { ssl = context })
      writer = select(2, asyncio.open_connection("127.0.0.1", server:sockets()[1].port))
      t.assertFalse((asyncio.pcall(writer.start_tls, writer, client, { server_hostname = "localhost" })))
      server:close()
      for _ = 1, i % 6 do asyncio.sleep(0) end
      server:abort_clients()
      server:wait_closed()
      asyncio.sleep(0.001)
      t.assertEquals({ server:stats().connections, server:stats().handshakes }, { 0, 0 })
    end)
  end
end

TestContext = {}

-- Nobody would have called its finaliser.
function TestContext:test_is_not_made_while_the_state_closes()
  local output, errors, code = t.lua [[
    local ssl = require "asyncio.ssl"
    ssl.create_default_context()
    asked = setmetatable({}, { __gc = function() print(select(2, pcall(ssl.create_default_context))) end })
  ]]
  t.assertEquals({ output, errors, code },
    { "ClosedError: the Lua state is being closed: this cannot be made any more\n", "", 0 })
end

t.finish()
