-- Standard streams of children: pipes, files, descriptors, streams of ours.
local t = require "helper"
local program = require "program"
local asyncio = t.asyncio

TestPipes = {}
TestFiles = {}
TestStreams = {}
TestOrder = {}

-- pipes

function TestPipes:test_are_there_where_they_are_asked_for()
  t.real(function()
    local process <close> = asyncio.create_subprocess_exec("cat", { stdin = "pipe", stdout = "pipe" })
    t.assertEquals({ asyncio.type(process.stdin), asyncio.type(process.stdout) }, { "StreamWriter", "StreamReader" })
    t.assertNil(process.stderr)
    local other <close> = asyncio.create_subprocess_exec("true")
    t.assertEquals({ other.stdin, other.stdout, other.stderr }, {})
  end)
end

function TestPipes:test_carry_a_conversation()
  t.real(function()
    local process <close> = asyncio.create_subprocess_exec("cat", { stdin = "pipe", stdout = "pipe" })
    for i = 1, 10 do
      process.stdin:write(i, "\n")
      t.assertEquals(process.stdout:readline(), i .. "\n")
    end
    process.stdin:close()
    t.assertNil(process.stdout:readline())
    t.assertEquals(process:wait(), 0)
  end)
end

function TestPipes:test_of_errors_are_one_of_their_own_or_that_of_the_output()
  t.real(function()
    local script = "echo out; echo err >&2"
    local result = asyncio.run_process(script, { capture = true })
    t.assertEquals({ result.stdout, result.stderr }, { "out\n", "err\n" })
    result = asyncio.run_process(script, { capture = true, stderr = "stdout" })
    t.assertEquals({ result.stdout, result.stderr }, { "out\nerr\n", nil })
    result = asyncio.run_process(script, { stdout = "null", stderr = "pipe" })
    t.assertEquals({ result.stdout, result.stderr }, { nil, "err\n" })
  end)
end

function TestPipes:test_close_by_themselves_at_their_end()
  t.real(function()
    local process <close> = asyncio.create_subprocess_exec("echo", "x", { stdout = "pipe" })
    t.assertEquals(process.stdout:read(-1), "x\n")
    t.wait_until(function() return process:returncode() end)
    asyncio.sleep(0)
    t.assertEquals(asyncio.get_running_loop():_open_handles(), 0)
    t.assertNil(process.stdout:read(10))
  end)
end

function TestPipes:test_that_end_with_much_unread_give_all_of_it()
  t.real(function()
    local process <close> = asyncio.create_subprocess_shell("seq 1 100000", { stdout = "pipe" })
    local n = 0
    for line in process.stdout:lines() do
      n = n + 1
      t.assertEquals(tonumber(line), n)
    end
    t.assertEquals({ n, process:wait() }, { 100000, 0 })
  end)
end

function TestPipes:test_hold_up_a_child_that_nobody_reads()
  t.real(function()
    local process <close> = asyncio.create_subprocess_shell("seq 1 1000000", { stdout = "pipe" })
    t.assertEquals(process.stdout:readline(), "1\n")
    asyncio.sleep(0.05)
    t.assertNil(process:returncode())
  end)
end

function TestPipes:test_hold_up_who_writes_to_a_child_that_does_not_read()
  t.real(function()
    local process <close> = asyncio.create_subprocess_exec("sleep", 60, { stdin = "pipe" })
    t.assertEquals(asyncio.move_on_after(0.05, process.stdin.send, process.stdin, ("x"):rep(1 << 20)), false)
  end)
end

function TestPipes:test_to_a_child_that_has_ended_are_broken()
  t.real(function()
    local process <close> = asyncio.create_subprocess_exec("true", { stdin = "pipe" })
    process:wait()
    process.stdin:write "x" -- leaves at the turn's end
    asyncio.sleep(0)
    t.assert_raises(asyncio.BrokenPipeError, process.stdin.send, process.stdin, "x")
  end)
end

function TestPipes:test_have_a_limit()
  t.real(function()
    local process <close> = asyncio.create_subprocess_exec("seq", 1000, { stdout = "pipe", limit = 16 })
    t.assert_raises(asyncio.LimitOverrunError, process.stdout.readuntil, process.stdout, "x")
  end)
end

-- files and descriptors

function TestFiles:test_are_read_and_written()
  t.real(function()
    local file <close> = assert(io.tmpfile())
    file:write "one\n" -- io has it still: it goes first
    asyncio.run_process({ "echo", "two" }, { stdout = file })
    asyncio.run_process("echo three; echo four >&2", { stdout = t.fd_of(file), stderr = file })
    file:seek "set"
    t.assertEquals(file:read "a", "one\ntwo\nthree\nfour\n")
    file:seek "set"
    t.assertEquals(asyncio.run_process({ "wc", "-l" }, { stdin = file, capture = true }).stdout:match "%d+", "4")
  end)
end

function TestFiles:test_of_nothing_are_empty()
  t.real(function()
    t.assertEquals(asyncio.run_process({ "cat" }, { capture = true }).stdout, "")
    asyncio.run_process({ "echo", "x" }, { stdout = "null" })
  end)
end

-- streams of ours

function TestStreams:test_make_a_pipeline()
  t.real(function()
    local seq <close> = asyncio.create_subprocess_exec("seq", 100000, { stdout = "pipe" })
    local grep <close> = asyncio.create_subprocess_exec("grep", "7$", { stdin = seq.stdout, stdout = "pipe" })
    local wc <close> = asyncio.create_subprocess_exec("wc", "-l", { stdin = grep.stdout, stdout = "pipe" })
    t.assertEquals(tonumber(wc.stdout:readline()), 10000)
    t.assertEquals({ seq:wait(), grep:wait(), wc:wait() }, { 0, 0, 0 })
    t.assert_raises(asyncio.ClosedError, asyncio.run_process, { "cat" }, { stdin = seq.stdout })
  end)
end

function TestStreams:test_are_blocking_for_the_child()
  t.real(function()
    local seq <close> = asyncio.create_subprocess_exec("sleep", 60, { stdout = "pipe" })
    local script = 'grep flags /proc/self/fdinfo/0'
    local flags = asyncio.run_process(script, { stdin = seq.stdout, capture = true }).stdout:match "%d+"
    t.assertEquals(tonumber(flags, 8) & tonumber("4000", 8), 0)
  end)
end

function TestStreams:test_that_were_read_ahead_are_refused()
  t.real(function()
    local seq <close> = asyncio.create_subprocess_exec("seq", 10, { stdout = "pipe" })
    t.assertEquals(seq.stdout:readline(), "1\n")
    local err = t.error_of(asyncio.run_process, { "cat" }, { stdin = seq.stdout })
    t.assertStrContains(tostring(err), "19 bytes of the stream have been read ahead")
    t.assertEquals(seq.stdout:readline(), "2\n") -- it is as it was
  end)
end

function TestStreams:test_that_are_being_read_are_refused()
  t.real(function()
    local sleep <close> = asyncio.create_subprocess_exec("sleep", 60, { stdout = "pipe" })
    local reading <close> = asyncio.create_task(sleep.stdout.read, sleep.stdout)
    asyncio.sleep(0)
    t.assert_raises(asyncio.BusyError, asyncio.run_process, { "cat" }, { stdin = sleep.stdout })
    t.assertFalse(reading:done())
  end)
end

function TestStreams:test_send_what_was_written_first()
  t.real(function()
    local cat <close> = asyncio.create_subprocess_exec("cat", { stdin = "pipe", stdout = "pipe" })
    local reading = asyncio.create_task(cat.stdout.read, cat.stdout, -1)
    cat.stdin:write(("x"):rep(1 << 20), "\n")
    asyncio.run_process({ "echo", "last" }, { stdout = cat.stdin })
    t.assertTrue(cat.stdin:is_closing())
    t.assertEquals(asyncio.await(reading):sub(-8), "xx\nlast\n")
  end)
end

function TestStreams:test_of_a_socket_are_the_childs()
  t.real(function()
    local done = asyncio.Event()
    local server <close> = asyncio.start_server(function(reader, writer)
      local process <close> = asyncio.create_subprocess_shell("echo go; tr a-z A-Z",
        { stdin = reader, stdout = writer })
      process:wait()
      done:set()
    end, "127.0.0.1", 0)
    local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    t.assertEquals(reader:readline(), "go\n") -- what came before the program has it would be refused
    writer:write "hello"
    writer:write_eof()
    t.assertEquals(reader:read(-1), "HELLO")
    done:wait()
  end)
end

function TestStreams:test_that_could_not_be_given_are_as_before()
  t.real(function()
    local cat <close> = asyncio.create_subprocess_exec("cat", { stdin = "pipe", stdout = "pipe" })
    t.assert_raises(asyncio.FileNotFoundError, asyncio.run_process, { "no-such" },
      { stdin = cat.stdout, stdout = cat.stdin })
    cat.stdin:write "hello\n"
    t.assertEquals(cat.stdout:readline(), "hello\n")
  end)
end

function TestStreams:test_without_a_descriptor_are_refused()
  t.real(function()
    local reader, writer, _, other = asyncio.stream_pair()
    t.assertStrContains(tostring(t.error_of(asyncio.run_process, { "cat" }, { stdin = reader })), "in memory")
    writer:close()
    other:close()
    local fed = asyncio.StreamReader()
    t.assertStrContains(tostring(t.error_of(asyncio.run_process, { "cat" }, { stdin = fed })), "in memory")
  end)
end

--- What a script says whose standard input is a pipe, or a file, with five lines.
local function with_lines(source)
  local script = program.file_with("local asyncio = require 'asyncio'\nasyncio.run(function()\n" .. source .. "\nend)")
  local piped = program.shell("seq 5 | %s %s 2>&1", program.checked_lua, script)
  local file = program.file_with "1\n2\n3\n4\n5\n"
  local from_file = program.shell("%s %s <%s 2>&1", program.checked_lua, script, file)
  os.remove(script)
  os.remove(file)
  return piped, from_file
end

function TestStreams:test_that_have_read_ahead_are_refused_whatever_they_are()
  for _, stream in ipairs { "asyncio.stdin()", "asyncio.open_fd(io.open '/dev/stdin')" } do
    for _, out in ipairs { with_lines([[
      local s = ]] .. stream .. [[

      print((s:readline():gsub("\n", "")))
      local ok, err = pcall(asyncio.run_process, { "cat" }, { stdin = s, stdout = "pipe" })
      print(ok, err)
      print((s:read(-1):gsub("\n", ";")))
    ]]) } do
      t.assertEquals(out, "1\nfalse\t8 bytes of the stream have been read ahead: "
        .. "the program would never see them\n2;3;4;5;\n")
    end
  end
end

function TestStreams:test_that_were_given_away_are_closed_and_no_clean_end()
  t.real(function()
    local seq <close> = asyncio.create_subprocess_exec("seq", 5, { stdout = "pipe" })
    t.assertEquals(asyncio.run_process({ "cat" }, { stdin = seq.stdout, stdout = "pipe" }).stdout, "1\n2\n3\n4\n5\n")
    t.assert_raises(asyncio.ClosedError, seq.stdout.read, seq.stdout)
    t.assert_raises(asyncio.ClosedError, seq.stdout.readexactly, seq.stdout, 1)
  end)
end

function TestStreams:test_that_have_read_nothing_are_the_childs()
  for _, out in ipairs { with_lines [[
    local result = asyncio.run_process({ "wc", "-l" }, { stdin = asyncio.stdin(), stdout = "pipe" })
    print(tonumber(result.stdout))
  ]] } do
    t.assertEquals(out, "5\n")
  end
end

function TestStreams:test_of_open_fd_give_their_own_descriptor()
  t.real(function()
    local name = program.file_with "hello"
    local file <close> = assert(io.open(name))
    local reader, writer <close> = asyncio.open_fd(file)
    t.assertEquals(asyncio.run_process({ "cat" }, { stdin = reader, capture = true }).stdout, "hello")
    t.assertTrue(writer:is_closing())
    os.remove(name)
  end)
end

-- who writes first

function TestOrder:test_of_output_is_that_of_the_program()
  local out = t.lua [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      print "one"
      asyncio.stdout():write "two\n"
      asyncio.run_process { "echo", "three" }
      io.write "four\n"
      asyncio.run_process("echo five", { stdout = asyncio.stdout() })
      asyncio.stdout():write "six\n"
    end)
  ]]
  t.assertEquals(out, "one\ntwo\nthree\nfour\nfive\nsix\n")
end

function TestOrder:test_of_output_into_a_pipe_is_that_of_the_program()
  local script = program.file_with [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      asyncio.stdout():write(("x"):rep(300000), "\n")
      asyncio.run_process { "echo", "last" }
    end)
  ]]
  local out = program.shell("%s %s | tail -n 1", program.checked_lua, script)
  os.remove(script)
  t.assertEquals(out, "last\n")
end

t.finish { sampled = true }
