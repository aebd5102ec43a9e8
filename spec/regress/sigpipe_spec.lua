-- sigpipe_spec.lua - a program that writes to a closed connection was ended by SIGPIPE; and one that prints to a closed
-- pipe ran for ever, since the signal was kept off all of the process's writes, for good.
-- Nothing here may load LuaSocket: that ignores the signal, for the programs it starts as well.
local program = require "program"
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

--- A write that waits in the loop, for a peer that leaves meanwhile.
function TestSigpipe:test_nor_does_one_that_the_loop_makes_later()
  local out, err, code = t.lua [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local path = "\0asyncio-sigpipe-" .. tostring({})
      local server <close> = asyncio.start_unix_server(function(_, writer)
        asyncio.sleep(0.02)
        writer:abort()
      end, path)
      local _, writer <close> = asyncio.open_unix_connection(path)
      writer:write(("x"):rep(10000000))
      print(pcall(writer.drain, writer))
    end)
  ]]
  t.assertEquals({ err, code }, { "", 0 })
  t.assertStrMatches(out, "false\t.*E[PC][IO][PN].*\n")
end

--- The status of a program whose output's reader leaves after a line; 141: SIGPIPE.
local function head(source)
  local name, said = program.file_with("local asyncio = require 'asyncio'\n" .. source), os.tmpname()
  program.shell("(timeout -k 5 %d %s %s; echo $? >%s) | head -1", program.PATIENCE, program.lua, name, said)
  local status = program.content(said)
  os.remove(name)
  os.remove(said)
  return tonumber(status)
end

local PRINTS = "while true do print 'line' end"

function TestSigpipe:test_ends_a_program_that_prints_to_a_reader_that_has_left_while_a_loop_runs()
  t.assertEquals(head("asyncio.run(function() while true do print 'line' asyncio.sleep(0) end end)"), 141)
end

function TestSigpipe:test_ends_one_that_prints_after_its_loops()
  t.assertEquals(head("asyncio.run(function() end) asyncio.run(function() end) " .. PRINTS), 141)
end

function TestSigpipe:test_ends_one_that_prints_in_another_thread()
  t.assertEquals(head("asyncio.run(function() asyncio.to_thread(function() " .. PRINTS .. " end) end)"), 141)
end

function TestSigpipe:test_that_another_process_sends_ends_one_that_waits()
  local name = program.file_with [[
    local asyncio = require "asyncio"
    io.stdout:setvbuf "no"
    asyncio.run(function() print "waits" asyncio.sleep(1000) end)
  ]]
  local waiting <close> = program.start("%s %s", program.lua, name)
  waiting:expect "waits"
  os.execute("kill -PIPE " .. waiting.pid)
  t.assertEquals(waiting:expect "%[status (%d+)%]", "141")
  os.remove(name)
end

function TestSigpipe:test_of_a_program_that_ignores_it_stays_ignored()
  local name = program.file_with [[
    local asyncio = require "asyncio"
    asyncio.run(function() asyncio.sleep(0) end)
    repeat local ok, why = io.write "line\n" and io.flush() until not ok
    io.stderr:write "an error\n"
  ]]
  local output = program.shell("(trap '' PIPE; timeout -k 5 %d %s %s | true) 2>&1", program.PATIENCE, program.lua, name)
  t.assertEquals(output, "an error\n")
  os.remove(name)
end

t.finish()
