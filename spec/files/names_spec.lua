-- What is asked and changed of files by their names: stat, links, rights, times.
local t = require "helper"
local place = require "files.place"
local asyncio, fs = t.asyncio, t.asyncio.fs
local in_place, is_root, assert_fails = place.within, place.is_root, place.assert_fails

TestStat = {}
TestExists = {}
TestNames = {}
TestLinks = {}
TestRights = {}
TestTimes = {}

-- stat

function TestStat:test_tells_what_the_system_tells()
  in_place(function(at)
    place.write(at .. "/f", "12345")
    place.run("chmod 4640", at .. "/f")
    place.run("ln", at .. "/f", at .. "/g")
    local st = fs.stat(at .. "/f")
    local told = ("%d %d %d %o %d %d %d"):format(st.size, st.ino, st.dev, st.mode, st.nlink, st.uid, st.gid)
    t.assertEquals(told, place.output(("stat -c '%%s %%i %%d %%a %%h %%u %%g' '%s/f'"):format(at)))
    for field, letter in pairs { atime = "X", mtime = "Y", ctime = "Z" } do
      t.assertAlmostEquals(st[field], tonumber(place.output(("stat -c %%.6%s '%s/f'"):format(letter, at))), 1e-5)
    end
  end)
end

function TestStat:test_knows_every_type()
  in_place(function(at)
    place.write(at .. "/f", "")
    place.run("mkfifo", at .. "/p")
    place.run("ln -s", "f", at .. "/l")
    local _ <close> = asyncio.start_unix_server(print, at .. "/s")
    local types = { ["/f"] = "file", ["/p"] = "fifo", ["/l"] = "link", ["/s"] = "socket", [""] = "directory" }
    for name, kind in pairs(types) do t.assertEquals(fs.lstat(at .. name).type, kind) end
    t.assertEquals(fs.stat(at .. "/l").type, "file")
    t.assertEquals(fs.stat("/dev/null").type, "char")
    if place.run("test -b", "/dev/vda") then t.assertEquals(fs.stat("/dev/vda").type, "block") end
  end)
end

function TestStat:test_of_a_large_file_has_its_size()
  in_place(function(at)
    place.run("truncate -s 5G", at .. "/f")
    t.assertEquals(fs.stat(at .. "/f").size, 5 << 30)
  end)
end

function TestStat:test_a_link_to_nothing_is_only_a_link()
  in_place(function(at)
    place.run("ln -s", "nothing", at .. "/l")
    assert_fails("ENOENT", asyncio.FileNotFoundError, fs.stat, at .. "/l")
    t.assertEquals(fs.lstat(at .. "/l").type, "link")
    assert_fails("ENOENT", asyncio.FileNotFoundError, fs.lstat, at .. "/none")
    assert_fails("ENOENT", asyncio.FileNotFoundError, fs.stat, "")
  end)
end

-- exists

function TestExists:test_is_whether_the_path_leads_anywhere()
  in_place(function(at)
    place.write(at .. "/f", "")
    place.run("ln -s", "nothing", at .. "/l")
    place.run("ln -s", "loop", at .. "/loop")
    t.assertTrue(fs.exists(at .. "/f"))
    t.assertTrue(fs.exists(at))
    for _, name in ipairs { "/none", "/f/g", "/l", "/loop", "/none/g" } do t.assertFalse(fs.exists(at .. name)) end
  end)
end

function TestExists:test_raises_where_it_cannot_be_found_out()
  in_place(function(at)
    assert_fails("ENAMETOOLONG", asyncio.OSError, fs.exists, at .. "/" .. ("n"):rep(300))
  end)
  if is_root() then return end
  in_place(function(at)
    place.run("mkdir -m 0", at .. "/d")
    assert_fails("EACCES", asyncio.PermissionError, fs.exists, at .. "/d/f")
  end)
end

-- rename, unlink

function TestNames:test_rename_replaces_what_has_the_name()
  in_place(function(at)
    place.write(at .. "/f", "new")
    place.write(at .. "/g", "old")
    fs.rename(at .. "/f", at .. "/g")
    t.assertEquals(place.read(at .. "/g"), "new")
    t.assertFalse(fs.exists(at .. "/f"))
  end)
end

function TestNames:test_an_error_with_two_paths_names_both()
  in_place(function(at)
    local err = assert_fails("ENOENT", asyncio.FileNotFoundError, fs.rename, at .. "/f", at .. "/g")
    t.assertEquals(err.path2, at .. "/g")
    t.assertEquals(err.syscall, "rename")
    t.assertEquals(err.message, ("no such file or directory: rename %s/f to %s/g"):format(at, at))
    place.write(at .. "/f", "")
    place.run("mkdir", at .. "/d")
    err = assert_fails("EISDIR", asyncio.IsADirectoryError, fs.rename, at .. "/f", at .. "/d")
    t.assertEquals(err.path2, at .. "/d")
  end)
end

function TestNames:test_a_call_that_cannot_wait_is_named()
  for _, name in ipairs { "read_file", "stat", "unlink", "access", "list_dir", "scan_dir", "real_path", "makedirs" } do
    t.assertErrorMsgContains("asyncio.fs." .. name .. " cannot wait outside of a task", function() fs[name] "/" end)
  end
  t.assertErrorMsgContains("asyncio.fs.mkstemp cannot wait outside of a task", function() fs.mkstemp() end)
end

function TestNames:test_unlink_takes_files_and_links_not_folders()
  in_place(function(at)
    place.write(at .. "/f", "")
    place.run("ln -s", "f", at .. "/l")
    fs.unlink(at .. "/l")
    t.assertTrue(fs.exists(at .. "/f"))
    fs.unlink(at .. "/f")
    assert_fails("ENOENT", asyncio.FileNotFoundError, fs.unlink, at .. "/f")
    assert_fails("EISDIR", asyncio.IsADirectoryError, fs.unlink, at)
  end)
end

-- links

function TestLinks:test_are_made_and_read()
  in_place(function(at)
    fs.symlink("some/where", at .. "/l")
    t.assertEquals(fs.read_link(at .. "/l"), "some/where")
    local long = ("x"):rep(1000)
    fs.symlink(long, at .. "/long")
    t.assertEquals(fs.read_link(at .. "/long"), long)
    local edge = ("y"):rep(256)
    fs.symlink(edge, at .. "/edge")
    t.assertEquals(fs.read_link(at .. "/edge"), edge)
    local err = assert_fails("EEXIST", asyncio.FileExistsError, fs.symlink, "x", at .. "/l")
    t.assertEquals(err.path2, at .. "/l")
  end)
end

function TestLinks:test_hard_ones_are_the_same_file()
  in_place(function(at)
    place.write(at .. "/f", "x")
    fs.link(at .. "/f", at .. "/g")
    t.assertEquals(fs.stat(at .. "/f").ino, fs.stat(at .. "/g").ino)
    t.assertEquals(fs.stat(at .. "/f").nlink, 2)
    assert_fails("EEXIST", asyncio.FileExistsError, fs.link, at .. "/f", at .. "/g")
  end)
end

function TestLinks:test_read_link_of_what_is_none_is_an_error()
  in_place(function(at)
    assert_fails("EINVAL", asyncio.OSError, fs.read_link, at)
    assert_fails("ENOENT", asyncio.FileNotFoundError, fs.read_link, at .. "/l")
  end)
end

function TestLinks:test_real_path_has_none_of_them()
  in_place(function(at)
    place.run("mkdir", at .. "/d")
    place.run("ln -s", "d", at .. "/l")
    t.assertEquals(fs.real_path(at .. "/l/../l/."), fs.real_path(at) .. "/d")
    t.assertEquals(fs.real_path ".", place.output "pwd -P")
    assert_fails("ENOENT", asyncio.FileNotFoundError, fs.real_path, at .. "/none")
  end)
end

-- chmod, chown, access

function TestRights:test_chmod_takes_numbers_and_octal_digits()
  in_place(function(at)
    place.write(at .. "/f", "")
    place.run("ln -s", "f", at .. "/l")
    for given, mode in pairs { ["640"] = 416, [420] = 420, ["4755"] = 2541, ["0"] = 0, ["0644"] = 420 } do
      fs.chmod(at .. "/l", given)
      t.assertEquals(fs.stat(at .. "/f").mode, mode)
    end
    assert_fails("ENOENT", asyncio.FileNotFoundError, fs.chmod, at .. "/none", "644")
  end)
end

function TestRights:test_chown_leaves_what_is_nil()
  if not is_root() then t.skip "needs root" end
  in_place(function(at)
    place.write(at .. "/f", "")
    fs.chown(at .. "/f", 1234, nil)
    fs.chown(at .. "/f", nil, 4321)
    local st = fs.stat(at .. "/f")
    t.assertEquals({ st.uid, st.gid }, { 1234, 4321 })
  end)
end

function TestRights:test_access_says_yes_or_no()
  in_place(function(at)
    place.write(at .. "/f", "")
    place.run("chmod 644", at .. "/f")
    t.assertTrue(fs.access(at .. "/f"))
    t.assertTrue(fs.access(at .. "/f", "rw"))
    t.assertFalse(fs.access(at .. "/f", "x"))
    t.assertFalse(fs.access(at .. "/f", "wx"))
    t.assertTrue(fs.access(at, "rwx"))
    t.assertFalse(fs.access(at .. "/none", "r"))
    t.assertFalse(fs.access(at .. "/f/g"))
    t.assertFalse(fs.access("/proc/version", "x"))
  end)
end

-- utime

function TestTimes:test_are_set_to_parts_of_a_second()
  in_place(function(at)
    place.write(at .. "/f", "")
    fs.utime(at .. "/f", 1000.25, 2000.75)
    local st = fs.stat(at .. "/f")
    t.assertEquals({ st.atime, st.mtime }, { 1000.25, 2000.75 })
    fs.utime(at .. "/f", -1.5)
    st = fs.stat(at .. "/f")
    t.assertEquals({ st.atime, st.mtime }, { -1.5, -1.5 })
    fs.utime(at .. "/f", 3)
    t.assertEquals(fs.stat(at .. "/f").mtime, 3)
  end)
end

function TestTimes:test_are_now_when_none_is_given()
  in_place(function(at)
    place.write(at .. "/f", "")
    fs.utime(at .. "/f", 0)
    local before = os.time()
    fs.utime(at .. "/f")
    local st = fs.stat(at .. "/f")
    t.assertTrue(st.mtime >= before - 1 and st.mtime <= os.time() + 1)
    t.assertEquals(st.atime, st.mtime)
  end)
end

t.finish()
