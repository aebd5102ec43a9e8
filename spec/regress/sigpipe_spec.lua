-- sigpipe_spec.lua - a program that writes to a closed connection was ended by SIGPIPE.
-- Nothing here may load LuaSocket: that ignores the signal, for the programs it starts as well.
local t = require "helper"

TestSigpipe = {}

function TestSigpipe:test_a_write_to_a_peer_that_is_gone_is_an_error_and_does_not_end_the_program()
  local out, err, code = t.lua [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local server <close> = asyncio.start_server(function(_, writer) writer:close() end, "127.0.0.1", 0)
      local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
      assert(reader:read(1) == nil)
      for _ = 1, 1000 do
        local ok, e = pcall(writer.send, writer, "x")
        if not ok then return print(e.code) end
        asyncio.sleep(0.001)
      end
      print "no error"
    end)
  ]]
  t.assertEquals(err, "")
  t.assertEquals(code, 0)
  t.assertTrue(out == "EPIPE\n" or out == "ECONNRESET\n", out)
end

t.finish()
