-- chat_server.lua [HOST [PORT [CERTFILE [KEYFILE]]]] - the chat, with TLS: every line goes to all the others,
-- with the name in the client's certificate, if CERTFILE vouches for one. doc/tls.md says how to make them.
-- SIGHUP has it read its certificate again; who is connected notices nothing.
-- Talk to it with chat_client.lua, or `openssl s_client -connect 127.0.0.1:12345 -quiet`.
local asyncio = require "asyncio"
local ssl = require "asyncio.ssl"

io.stdout:setvbuf "line"

local PATIENCE = 1 -- seconds that a client may take to read what waits for it

local clients = {} -- the writers of all open connections, as keys

local function send_to_others(sender, text)
  local others = {}
  for writer in pairs(clients) do
    if writer ~= sender then
      others[#others + 1] = writer
      pcall(writer.write, writer, text) -- one that has just gone is its own handler's business
    end
  end
  for _, writer in ipairs(others) do -- who doesn't read must not fill our memory
    local ok, in_time = asyncio.pcall(asyncio.move_on_after, PATIENCE, writer.drain, writer)
    if not (ok and in_time) then writer:abort() end
  end
end

-- Called after the handshake: who comes this far speaks TLS, and a certificate has been verified.
local function handle_connection(reader, writer)
  local certificate = writer:get_extra_info "peercert"
  local name = certificate and certificate.subject.CN or "somebody"
  print(("Connected: %s, %s"):format(name, writer:get_extra_info "tls_version"))
  clients[writer] = true
  local ok, err = asyncio.pcall(function()
    for line in reader:lines() do send_to_others(writer, name .. ": " .. line .. "\n") end
  end)
  clients[writer] = nil
  print(ok and "Disconnected: " .. name or "Exception: " .. tostring(err))
end

local function main(host, port, certfile, keyfile)
  local function load_context()
    return ssl.create_server_context {
      certfile = certfile, keyfile = keyfile, verify_mode = "optional", cafile = certfile,
    }
  end
  local server <close> = asyncio.start_server(handle_connection, host, port, {
    ssl = load_context(), ssl_handshake_timeout = 5, max_handshakes = 50, stop_grace = 2,
  })
  asyncio.get_running_loop():add_signal_handler("SIGHUP", function()
    local ok, context = pcall(load_context)
    if ok then server:set_ssl_context(context) end
    print(ok and "New certificate" or "The old certificate stays: " .. tostring(context))
  end)
  print("Listening on " .. tostring(server:sockets()[1]))
  server:serve_forever()
end

local ok, err = pcall(asyncio.run, main, arg[1] or "127.0.0.1", tonumber(arg[2] or 12345),
  arg[3] or "dev.pem", arg[4] or arg[3] or "dev.key")
if not ok and not asyncio.isinstance(err, asyncio.KeyboardInterrupt) then error(err, 0) end
