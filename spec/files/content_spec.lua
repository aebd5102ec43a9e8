-- Files as a whole: read, written, written at once or not at all, copied.
local t = require "helper"
local place = require "files.place"
local asyncio, fs = t.asyncio, t.asyncio.fs
local in_place, is_root, mode_of, assert_fails = place.within, place.is_root, place.mode_of, place.assert_fails

TestReadFile = {}
TestWriteFile = {}
TestAtomicWrite = {}
TestCopyFile = {}

local function list(path) return place.output("ls -A '" .. path .. "'") end

-- read_file

function TestReadFile:test_gives_all_bytes_of_small_and_large_files()
  in_place(function(at)
    for _, n in ipairs { 0, 1, 4096, 131071, 131072, 131073, 3000000 } do
      local text = ("\0a\r\n\255"):rep(n // 5 + 1):sub(1, n)
      place.write(at .. "/f", text)
      t.assertTrue(fs.read_file(at .. "/f") == text)
    end
  end)
end

function TestReadFile:test_reads_what_says_that_it_is_empty()
  t.real(function() t.assertStrContains(fs.read_file "/proc/self/status", "Threads:") end)
end

function TestReadFile:test_reads_a_pipe_to_its_end()
  in_place(function(at)
    place.run("mkfifo", at .. "/p")
    local task = asyncio.create_task(fs.read_file, at .. "/p")
    os.execute(("(echo one; sleep 0.05; echo two) >'%s/p' &"):format(at))
    t.assertEquals(asyncio.await(task), "one\ntwo\n")
  end)
end

function TestReadFile:test_says_what_is_missing_and_what_is_no_file()
  in_place(function(at)
    local err = assert_fails("ENOENT", asyncio.FileNotFoundError, fs.read_file, at .. "/none")
    t.assertEquals(tostring(err), ("[ENOENT] no such file or directory: open %s/none"):format(at))
    t.assertEquals(err.syscall, "open")
    assert_fails("EISDIR", asyncio.IsADirectoryError, fs.read_file, at)
    place.write(at .. "/f", "")
    assert_fails("ENOTDIR", asyncio.NotADirectoryError, fs.read_file, at .. "/f/g")
  end)
end

function TestReadFile:test_other_tasks_go_on_meanwhile()
  in_place(function(at)
    place.run("mkfifo", at .. "/p")
    local task = asyncio.create_task(fs.read_file, at .. "/p") -- waits for a writer
    for _ = 1, 10 do asyncio.sleep(0.001) end
    t.assertFalse(task:done())
    fs.write_file(at .. "/p", "now")
    t.assertEquals(asyncio.await(task), "now")
  end)
end

-- write_file

function TestWriteFile:test_makes_a_file_and_replaces_what_was_in_one()
  in_place(function(at)
    fs.write_file(at .. "/f", ("long "):rep(100000))
    fs.write_file(at .. "/f", "a\0b")
    t.assertEquals(place.read(at .. "/f"), "a\0b")
    fs.write_file(at .. "/f", "")
    t.assertEquals(place.read(at .. "/f"), "")
  end)
end

function TestWriteFile:test_has_the_mode_that_is_given_or_what_the_umask_leaves()
  in_place(function(at)
    local usual = place.output(("touch '%s/x'; stat -c %%a '%s/x'"):format(at, at))
    for _, opts in ipairs { {}, { atomic = true } } do
      fs.write_file(at .. "/f", "x", opts)
      t.assertEquals(mode_of(at .. "/f"), usual)
      opts.mode = "622" -- no umask lets that be
      fs.write_file(at .. "/g", "x", opts)
      t.assertEquals(mode_of(at .. "/g"), "622")
      opts.mode = 256 -- 0400
      fs.write_file(at .. "/g", "x", opts)
      t.assertEquals(mode_of(at .. "/g"), "400")
      os.remove(at .. "/g")
    end
  end)
end

function TestWriteFile:test_gives_rights_to_act_as_somebody_else_after_the_content()
  in_place(function(at)
    for _, opts in ipairs { { mode = "4755" }, { mode = "6711", atomic = true } } do
      fs.write_file(at .. "/f", "x", opts)
      t.assertEquals(mode_of(at .. "/f"), opts.mode)
    end
  end)
end

function TestWriteFile:test_a_full_disk_is_an_error()
  t.real(function()
    local err = assert_fails("ENOSPC", asyncio.OSError, fs.write_file, "/dev/full", ("x"):rep(100000))
    t.assertEquals(err.syscall, "write")
  end)
end

function TestWriteFile:test_a_reader_that_has_gone_is_an_error_and_no_signal()
  in_place(function(at)
    place.run("mkfifo", at .. "/p")
    os.execute(("head -c 1 '%s/p' >/dev/null &"):format(at))
    assert_fails("EPIPE", asyncio.BrokenPipeError, fs.write_file, at .. "/p", ("x"):rep(10000000))
  end)
end

-- atomic

function TestAtomicWrite:test_readers_see_the_old_content_or_the_new_one()
  in_place(function(at)
    local path, a, b = at .. "/f", ("a"):rep(200000), ("b"):rep(200000)
    fs.write_file(path, a)
    local writer = asyncio.create_task(function()
      for i = 1, t.count(40) do fs.write_file(path, i % 2 == 0 and a or b, { atomic = true }) end
    end)
    while not writer:done() do
      local text = fs.read_file(path)
      t.assertTrue(text == a or text == b)
    end
    asyncio.await(writer)
    t.assertEquals(list(at), "f")
  end)
end

function TestAtomicWrite:test_that_was_left_takes_no_place_from_a_later_one()
  in_place(function(at)
    local path, much = at .. "/f", ("x"):rep(30000000)
    for _ = 1, t.count(5) do
      t.assertFalse((asyncio.move_on_after(0.003, fs.write_file, path, much, { atomic = true })))
      fs.write_file(path, "later", { atomic = true })
      while list(at) ~= "f" do asyncio.sleep(0.001) end
      t.assertEquals(#place.read(path), 5)
    end
  end)
end

function TestAtomicWrite:test_keeps_the_mode_and_the_owner_of_the_former()
  in_place(function(at)
    place.write(at .. "/f", "old")
    place.run("chmod 640", at .. "/f")
    if is_root() then place.run("chown 12345:23456", at .. "/f") end
    local before = place.output(("stat -c '%%a %%u %%g' '%s/f'"):format(at))
    fs.write_file(at .. "/f", "new", { atomic = true })
    t.assertEquals(place.output(("stat -c '%%a %%u %%g' '%s/f'"):format(at)), before)
    t.assertEquals(place.read(at .. "/f"), "new")
  end)
end

function TestAtomicWrite:test_leaves_other_names_their_old_content()
  in_place(function(at)
    place.write(at .. "/f", "old")
    place.run("ln", at .. "/f", at .. "/g")
    fs.write_file(at .. "/f", "new", { atomic = true })
    t.assertEquals(place.read(at .. "/g"), "old")
  end)
end

function TestAtomicWrite:test_follows_links_also_to_what_is_not_there()
  in_place(function(at)
    place.run("mkdir", at .. "/d")
    place.run("ln -s", "d/f", at .. "/relative")
    place.run("ln -s", at .. "/relative", at .. "/absolute")
    for _, text in ipairs { "first", "second" } do
      fs.write_file(at .. "/absolute", text, { atomic = true })
      t.assertEquals(place.read(at .. "/d/f"), text)
    end
    t.assertEquals(list(at .. "/d"), "f")
    t.assertEquals(place.output("readlink " .. at .. "/absolute"), at .. "/relative")
    place.run("ln -s", "loop", at .. "/loop")
    assert_fails("ELOOP", asyncio.OSError, fs.write_file, at .. "/loop", "x", { atomic = true })
  end)
end

function TestAtomicWrite:test_replaces_neither_folders_nor_devices()
  in_place(function(at)
    local atomic = { atomic = true }
    assert_fails("EISDIR", asyncio.IsADirectoryError, fs.write_file, at, "x", atomic)
    assert_fails("EISDIR", asyncio.IsADirectoryError, fs.write_file, at .. "/", "x", atomic)
    assert_fails("EISDIR", asyncio.IsADirectoryError, fs.write_file, "..", "x", atomic)
    local err = assert_fails("EINVAL", asyncio.OSError, fs.write_file, "/dev/null", "x", atomic)
    t.assertStrContains(err.message, "only a regular file can be replaced")
    assert_fails("ENOENT", asyncio.FileNotFoundError, fs.write_file, at .. "/none/f", "x", atomic)
    assert_fails("ENOENT", asyncio.FileNotFoundError, fs.write_file, "", "x", atomic)
    err = assert_fails("ENOTDIR", asyncio.NotADirectoryError, fs.write_file, "/dev/null/f", "x", atomic)
    t.assertEquals(err.syscall, "open")
    t.assertEquals(list(at), "")
  end)
end

function TestAtomicWrite:test_a_full_disk_leaves_the_former_and_nothing_beside_it()
  if not is_root() or not place.run("unshare -m true 2>/dev/null") then t.skip "needs root, to mount" end
  in_place(function(at)
    place.run("mount -t tmpfs -o size=64k none", at)
    local _ <close> = setmetatable({}, { __close = function() place.run("umount", at) end })
    fs.write_file(at .. "/f", "old")
    local err = t.assert_raises(asyncio.OSError, fs.write_file, at .. "/f", ("x"):rep(200000), { atomic = true })
    t.assertEquals(err.code, "ENOSPC")
    t.assertEquals(list(at), "f")
    t.assertEquals(place.read(at .. "/f"), "old")
    t.assert_raises(asyncio.OSError, fs.copy_file, "/bin/sh", at .. "/g")
    t.assertEquals(list(at), "f")
    place.run("ln -s", "g", at .. "/l")
    t.assert_raises(asyncio.OSError, fs.copy_file, "/bin/sh", at .. "/l")
    t.assertEquals(list(at), "f\nl")
    fs.copy_file(at .. "/f", at .. "/l")
    t.assertEquals(list(at), "f\ng\nl")
  end)
end

function TestAtomicWrite:test_takes_a_name_of_any_length_and_a_path_without_folder()
  in_place(function(at)
    local path = at .. "/" .. ("n"):rep(255)
    fs.write_file(path, "x", { atomic = true })
    t.assertEquals(place.read(path), "x")
    local here = os.tmpname():match "[^/]*$"
    local _ <close> = setmetatable({}, { __close = function() os.remove(here) end })
    fs.write_file(here, "y", { atomic = true })
    t.assertEquals(place.read(here), "y")
    assert_fails("ENAMETOOLONG", asyncio.OSError, fs.write_file, at .. "/" .. ("n"):rep(256), "", { atomic = true })
  end)
end

-- copy_file

function TestCopyFile:test_copies_content_and_permissions()
  in_place(function(at)
    for _, n in ipairs { 0, 5, 1000000 } do
      local text = ("0123456789"):rep(n // 10 + 1):sub(1, n)
      place.write(at .. "/f", text)
      place.run("chmod 4751", at .. "/f")
      fs.copy_file(at .. "/f", at .. "/g")
      t.assertTrue(place.read(at .. "/g") == text)
      t.assertEquals(mode_of(at .. "/g"), "751") -- rights to act as somebody else are not copied
    end
  end)
end

function TestCopyFile:test_replaces_all_of_what_was_there()
  in_place(function(at)
    place.write(at .. "/f", "short")
    place.write(at .. "/g", ("long"):rep(1000))
    fs.copy_file(at .. "/f", at .. "/g")
    t.assertEquals(place.read(at .. "/g"), "short")
  end)
end

function TestCopyFile:test_copies_what_the_kernel_makes_up()
  in_place(function(at)
    fs.copy_file("/proc/version", at .. "/f")
    t.assertEquals(place.read(at .. "/f"), place.read "/proc/version")
  end)
end

function TestCopyFile:test_copies_to_another_file_system()
  in_place(function(at)
    local other = "/dev/shm/" .. at:match "[^/]*$"
    if not place.run("touch 2>/dev/null", other) then t.skip "there is no /dev/shm" end
    local _ <close> = setmetatable({}, { __close = function() os.remove(other) end })
    place.write(at .. "/f", ("x"):rep(300000))
    fs.copy_file(at .. "/f", other)
    t.assertTrue(place.read(other) == ("x"):rep(300000))
  end)
end

function TestCopyFile:test_refuses_a_copy_to_itself_by_whatever_name()
  in_place(function(at)
    place.write(at .. "/f", "precious")
    place.run("ln", at .. "/f", at .. "/hard")
    place.run("ln -s", "f", at .. "/soft")
    for _, name in ipairs { "/f", "/hard", "/soft" } do
      local err = assert_fails("EINVAL", asyncio.OSError, fs.copy_file, at .. "/f", at .. name)
      t.assertEquals(err.path2, at .. name)
      t.assertStrContains(err.message, "both paths are the same file")
    end
    t.assertEquals(place.read(at .. "/f"), "precious")
  end)
end

function TestCopyFile:test_copies_regular_files_only()
  in_place(function(at)
    place.write(at .. "/f", "x")
    place.run("mkfifo", at .. "/p")
    assert_fails("EISDIR", asyncio.IsADirectoryError, fs.copy_file, at, at .. "/g")
    assert_fails("EISDIR", asyncio.IsADirectoryError, fs.copy_file, at .. "/f", at)
    assert_fails("EINVAL", asyncio.OSError, fs.copy_file, at .. "/p", at .. "/g")
    assert_fails("EINVAL", asyncio.OSError, fs.copy_file, "/dev/zero", at .. "/g")
    t.assert_raises(asyncio.OSError, fs.copy_file, at .. "/f", at .. "/p") -- nobody reads: it would wait
    assert_fails("ENOENT", asyncio.FileNotFoundError, fs.copy_file, at .. "/none", at .. "/g")
    t.assertEquals(list(at), "f\np")
  end)
end

t.finish()
