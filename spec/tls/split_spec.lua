-- split_spec.lua - bytes that come in pieces: a handshake and records that are cut at every byte.
local t = require "helper"
local secure = require "secure"

local asyncio = t.asyncio

--- Shakes hands and echoes over a line that carries pieces of the sizes that `size()` gives.
local function through(size, version)
  t.run(function()
    local reader, writer <close>, relay_reader1, relay_writer1 = asyncio.stream_pair()
    local relay_reader2, relay_writer2, far_reader, far_writer = asyncio.stream_pair()
    local _, _, _ <close> = relay_writer1, relay_writer2, far_writer
    local relay = secure.relay(relay_reader1, relay_writer1, relay_reader2, relay_writer2, size)
    local only = { minimum_version = version, maximum_version = version }
    local failed, refused = secure.shake(writer, far_writer, secure.client_context(only), secure.server_context(only))
    t.assertEquals({ failed and tostring(failed), refused and tostring(refused) }, {})
    local echo = asyncio.create_task(function()
      far_writer:send(far_reader:readexactly(5000))
      far_writer:close()
      return far_reader:read(1)
    end)
    local text = ("0123456789"):rep(500)
    writer:send(text)
    t.assertTrue(reader:readexactly(5000) == text)
    t.assertNil(reader:read(1))
    writer:close()
    asyncio.await(echo)
    asyncio.await(relay)
    relay_writer1:close()
    relay_writer2:close()
  end)
end

TestPieces = {}

for _, version in ipairs(secure.VERSIONS) do
  TestPieces["test_of_one_byte_" .. version] = function() through(function() return 1 end, version) end
  TestPieces["test_of_all_sizes_" .. version] = function()
    local x = 1
    through(function()
      x = (x * 1103515245 + 12345) & 0x7fffffff
      return x % 40 == 0 and 4000 or x // 7 % 30 + 1
    end, version)
  end
end

--- The first piece is cut after so many bytes, for each number there is: hello, answer, end.
for _, version in ipairs(secure.VERSIONS) do
  TestPieces["test_that_are_cut_once_anywhere_" .. version] = function()
    for first = 1, 2000, t.slow and 401 or 37 do
      local sent = 0
      through(function()
        sent = sent + 1
        return sent <= 2 and first or 65536
      end, version)
    end
  end
end

t.finish { sampled = true }
