-- Folders: made, listed, walked through, removed with all that is in them; names that nothing had.
local t = require "helper"
local place = require "files.place"
local asyncio, fs = t.asyncio, t.asyncio.fs
local in_place, is_root, mode_of, assert_fails = place.within, place.is_root, place.mode_of, place.assert_fails

TestMakeFolder = {}
TestListing = {}
TestScan = {}
TestWalk = {}
TestRemoveTree = {}
TestTemporary = {}

-- mkdir, makedirs, rmdir

function TestMakeFolder:test_has_the_mode_that_is_given_or_what_the_umask_leaves()
  in_place(function(at)
    local usual = place.output(("mkdir '%s/x'; stat -c %%a '%s/x'"):format(at, at))
    fs.mkdir(at .. "/a")
    fs.mkdir(at .. "/b", "773")
    fs.mkdir(at .. "/c", 448)
    t.assertEquals({ mode_of(at .. "/a"), mode_of(at .. "/b"), mode_of(at .. "/c") }, { usual, "773", "700" })
  end)
end

function TestMakeFolder:test_inherits_the_group_of_a_folder_that_passes_it_on()
  in_place(function(at)
    place.run("mkdir -m 2775", at .. "/d")
    fs.mkdir(at .. "/d/e", "750")
    t.assertEquals(mode_of(at .. "/d/e"), "2750")
  end)
end

function TestMakeFolder:test_says_why_it_cannot()
  in_place(function(at)
    place.write(at .. "/f", "")
    assert_fails("EEXIST", asyncio.FileExistsError, fs.mkdir, at)
    assert_fails("EEXIST", asyncio.FileExistsError, fs.mkdir, at .. "/f")
    assert_fails("ENOENT", asyncio.FileNotFoundError, fs.mkdir, at .. "/none/d")
    assert_fails("ENOTDIR", asyncio.NotADirectoryError, fs.mkdir, at .. "/f/d")
    assert_fails("ENOTDIR", asyncio.NotADirectoryError, fs.rmdir, at .. "/f")
    assert_fails("ENOTEMPTY", asyncio.OSError, fs.rmdir, at)
    fs.mkdir(at .. "/d")
    fs.rmdir(at .. "/d")
    assert_fails("ENOENT", asyncio.FileNotFoundError, fs.rmdir, at .. "/d")
  end)
end

function TestMakeFolder:test_makedirs_makes_all_that_are_missing()
  in_place(function(at)
    local usual = place.output(("mkdir '%s/x'; stat -c %%a '%s/x'"):format(at, at))
    fs.makedirs(at .. "/a//b/./c/d/", "700")
    t.assertEquals(mode_of(at .. "/a/b/c/d"), "700")
    t.assertEquals(mode_of(at .. "/a/b/c"), usual)
    fs.makedirs(at .. "/a/b/c/d", "755") -- what is there stays as it is
    t.assertEquals(mode_of(at .. "/a/b/c/d"), "700")
    fs.makedirs(at)
    fs.makedirs "/"
    fs.makedirs "."
    place.run("ln -s", "a/b", at .. "/l")
    fs.makedirs(at .. "/l/new")
    t.assertTrue(fs.exists(at .. "/a/b/new"))
  end)
end

function TestMakeFolder:test_makedirs_names_what_stands_in_its_way()
  in_place(function(at)
    place.write(at .. "/f", "")
    place.run("ln -s", "nothing", at .. "/l")
    assert_fails("EEXIST", asyncio.FileExistsError, fs.makedirs, at .. "/f")
    assert_fails("ENOTDIR", asyncio.NotADirectoryError, fs.makedirs, at .. "/f/g")
    assert_fails("EEXIST", asyncio.FileExistsError, fs.makedirs, at .. "/l")
    local err = t.assert_raises(asyncio.FileExistsError, fs.makedirs, at .. "/l/g/h")
    t.assertEquals(err.path, at .. "/l")
    assert_fails("ENOENT", asyncio.FileNotFoundError, fs.makedirs, "")
  end)
end

function TestMakeFolder:test_many_may_make_the_same_path_at_once()
  in_place(function(at)
    local tasks = {}
    for i = 1, 20 do tasks[i] = asyncio.create_task(fs.makedirs, at .. "/a/b/c/d/e") end
    for _, task in ipairs(tasks) do asyncio.await(task) end
    t.assertTrue(fs.exists(at .. "/a/b/c/d/e"))
  end)
end

-- list_dir

function TestListing:test_gives_every_name_but_the_dots()
  in_place(function(at)
    t.assertEquals(fs.list_dir(at), {})
    local names = { ".hidden", "a b", "new\nline", "\255\1" }
    for _, name in ipairs(names) do place.write(at .. "/" .. name, "") end
    local listed = fs.list_dir(at)
    table.sort(listed)
    table.sort(names)
    t.assertEquals(listed, names)
  end)
end

function TestListing:test_of_thousands_of_names_misses_none_and_holds_up_nobody()
  in_place(function(at)
    local n = 5000
    os.execute(("cd '%s' && seq -f 'a-rather-long-name-%%g' %d | xargs touch"):format(at, n))
    local turns = 0
    local ticker <close> = asyncio.create_task(function()
      while true do
        turns = turns + 1
        asyncio.sleep(0)
      end
    end)
    local seen, count = {}, 0
    for _, name in ipairs(fs.list_dir(at)) do
      if not seen[name] then count = count + 1 end
      seen[name] = true
    end
    t.assertEquals(count, n)
    t.assertTrue(turns > 5)
    ticker:cancel()
  end)
end

function TestListing:test_says_what_is_no_folder()
  in_place(function(at)
    place.write(at .. "/f", "")
    for _, fn in ipairs { fs.list_dir, fs.scan_dir } do
      assert_fails("ENOTDIR", asyncio.NotADirectoryError, fn, at .. "/f")
      assert_fails("ENOENT", asyncio.FileNotFoundError, fn, at .. "/none")
    end
  end)
end

-- scan_dir

function TestScan:test_gives_names_and_types()
  in_place(function(at)
    place.write(at .. "/f", "")
    place.run("mkdir", at .. "/d")
    place.run("mkfifo", at .. "/p")
    place.run("ln -s", "d", at .. "/l")
    local types = {}
    for entry in fs.scan_dir(at) do types[entry.name] = entry.type end
    t.assertEquals(types, { f = "file", d = "directory", p = "fifo", l = "link" })
    for _ in fs.scan_dir(at .. "/d") do t.fail "it is empty" end
  end)
end

function TestScan:test_closes_its_folder_when_the_loop_is_left()
  in_place(function(at)
    os.execute(("cd '%s' && seq -f 'a-rather-long-name-%%g' 3000 | xargs touch"):format(at))
    collectgarbage "stop"
    local before = place.descriptors()
    local function wait_until_closed() -- by a thread
      t.wait_until(function() return place.descriptors() == before end)
    end
    for _ in fs.scan_dir(at) do
      t.assertEquals(place.descriptors(), before + 1)
      break
    end
    wait_until_closed()
    local n = 0
    for _ in fs.scan_dir(at) do n = n + 1 end
    t.assertEquals(n, 3000)
    wait_until_closed()
    collectgarbage "restart"
    do local _ = fs.scan_dir(at) end
    t.collect() -- one that is forgotten is closed
    wait_until_closed()
  end)
end

function TestScan:test_is_over_for_whoever_asks_after_its_end()
  in_place(function(at)
    place.write(at .. "/f", "")
    local scan = fs.scan_dir(at)
    t.assertEquals(scan().name, "f")
    t.assertNil(scan())
    t.assertNil(scan())
    local closed = fs.scan_dir(at)
    do local _ <close> = closed end
    t.assertNil(closed())
  end)
end

-- walk

local function tree(at)
  os.execute(("cd '%s' && mkdir -p a/b/c d && touch top a/one a/b/two && ln -s .. a/b/up && ln -s a l"):format(at))
end

local function sorted(list)
  table.sort(list)
  return table.concat(list, " ")
end

function TestWalk:test_goes_from_the_top_down_and_follows_no_link()
  in_place(function(at)
    tree(at)
    local told = {}
    for folder, dirs, files in fs.walk(at) do
      told[#told + 1] = ("%s: %s; %s"):format(folder:sub(#at + 1), sorted(dirs), sorted(files))
    end
    t.assertEquals(told, { ": a d; l top", "/a: b; one", "/a/b: c; two up", "/a/b/c: ; ", "/d: ; " })
  end)
end

function TestWalk:test_enters_what_is_left_in_the_list_in_its_order()
  in_place(function(at)
    tree(at)
    local told = {}
    for folder, dirs in fs.walk(at .. "/") do
      told[#told + 1] = folder:sub(#at + 1)
      if #told == 1 then dirs[1], dirs[2] = "d", "a" end
      if folder:match "/a$" then dirs[1] = nil end
    end
    t.assertEquals(told, { "/", "/d", "/a" })
  end)
end

function TestWalk:test_passes_over_what_vanishes_or_becomes_a_link()
  in_place(function(at)
    tree(at)
    local told = {}
    for folder, dirs in fs.walk(at) do
      sorted(dirs)
      told[#told + 1] = folder:sub(#at + 1)
      if folder == at then os.execute(("cd '%s' && rm -r d && ln -s / d"):format(at)) end
      if folder:match "/b$" then os.execute(("rm -r '%s/c'"):format(folder)) end
    end
    t.assertEquals(told, { "", "/a", "/a/b" })
  end)
end

function TestWalk:test_is_not_led_elsewhere_by_a_link_above()
  in_place(function(at)
    os.execute(("cd '%s' && mkdir -p t/a/b/c elsewhere/b/c && touch elsewhere/b/secret"):format(at))
    local function walk(opts)
      local seen = {}
      for folder in fs.walk(at .. "/t", opts) do
        seen[#seen + 1] = folder:sub(#at + 1)
        if folder == at .. "/t/a" then os.execute(("cd '%s/t' && mv a x && ln -s ../elsewhere a"):format(at)) end
      end
      return seen
    end
    local told = {}
    t.assertEquals(walk { on_error = function(err) told[#told + 1] = err.code .. err.path end }, { "/t", "/t/a" })
    t.assertEquals(told, { "EBUSY" .. at .. "/t/a/b" })
    os.execute(("cd '%s/t' && rm a && mv x a"):format(at))
    local err = t.assert_raises(asyncio.OSError, walk)
    t.assertStrContains(err.message, "a folder above it was moved meanwhile")
  end)
end

function TestWalk:test_what_cannot_be_read_is_raised_or_told()
  in_place(function(at)
    t.assert_raises(asyncio.FileNotFoundError, fs.walk(at .. "/none", { on_error = print }))
    tree(at)
    place.run("mkdir -m 0", at .. "/a/locked")
    if is_root() then return end -- who may read everything
    t.assert_raises(asyncio.PermissionError, function()
      for _ in fs.walk(at) do t.assertTrue(true) end
    end)
    local told, n = {}, 0
    for _ in fs.walk(at, { on_error = function(err) told[#told + 1] = err.path end }) do n = n + 1 end
    t.assertEquals(told, { at .. "/a/locked" })
    t.assertEquals(n, 5)
  end)
end

function TestWalk:test_refuses_a_list_with_something_else()
  in_place(function(at)
    tree(at)
    local err = t.error_of(function()
      for _, dirs in fs.walk(at) do dirs[1] = 5 end
    end)
    t.assertStrContains(tostring(err), "a name expected in a list of folders, got number")
  end)
end

-- remove_tree

function TestRemoveTree:test_removes_all_but_what_links_point_to()
  in_place(function(at)
    os.execute(([[cd '%s' && mkdir -p keep t/a/b/c t/d && touch keep/f t/top t/a/one t/.hidden &&
      ln -s ../../keep t/a/link && ln -s nothing t/dangling && mkfifo t/d/p]]):format(at))
    fs.remove_tree(at .. "/t/")
    t.assertEquals(place.output("ls -A " .. at), "keep")
    t.assertTrue(fs.exists(at .. "/keep/f"))
  end)
end

function TestRemoveTree:test_does_not_take_a_link_for_its_folder()
  in_place(function(at)
    os.execute(("cd '%s' && mkdir keep && touch keep/f file && ln -s keep l"):format(at))
    for _, name in ipairs { "/l", "/l/", "/l//", "/file" } do
      assert_fails("ENOTDIR", asyncio.NotADirectoryError, fs.remove_tree, at .. name)
    end
    assert_fails("ENOENT", asyncio.FileNotFoundError, fs.remove_tree, at .. "/none")
    t.assertTrue(fs.exists(at .. "/keep/f"))
  end)
end

function TestRemoveTree:test_refuses_what_nobody_means()
  in_place(function(at)
    for _, path in ipairs { at .. "/.", at .. "/..", at .. "/../", ".", ".." } do
      local err = assert_fails("EINVAL", asyncio.OSError, fs.remove_tree, path)
      t.assertStrContains(err.message, "a path that ends in . or .. is not removed")
    end
    assert_fails("EBUSY", asyncio.OSError, fs.remove_tree, "/")
    assert_fails("EBUSY", asyncio.OSError, fs.remove_tree, "//")
    assert_fails("ENOENT", asyncio.FileNotFoundError, fs.remove_tree, "")
    t.assertTrue(fs.exists(at))
  end)
end

function TestRemoveTree:test_needs_few_descriptors_and_no_stack_for_what_is_deep()
  in_place(function(at)
    os.execute(([[cd '%s' && mkdir t && cd t && p=$(printf 'd/%%.0s' $(seq 500)) &&
      for i in $(seq %d); do mkdir -p $p f $p/g && cd -P $p; done]]):format(at, t.slow and 1 or 5))
    local program = ([[local asyncio = require "asyncio"
      local ok, err = pcall(asyncio.run, asyncio.fs.remove_tree, %q)
      print(ok, err)]]):format(at .. "/t")
    local script = at .. "/script"
    place.write(script, program)
    local lua = os.getenv "SPEC_LUA" or os.getenv "LUA" or "lua5.4"
    t.assertEquals(place.output(("ulimit -n 40; %s '%s'"):format(lua, script)), "true\tnil")
    t.assertFalse(fs.exists(at .. "/t"))
  end)
end

function TestRemoveTree:test_says_what_it_could_not_remove()
  if is_root() and not place.run("unshare -m true 2>/dev/null") then t.skip "nothing resists root here" end
  in_place(function(at)
    os.execute(("mkdir -p '%s/t/a/b'"):format(at))
    local busy = at .. "/t/a/b"
    local obstacle = is_root() and "mount -t tmpfs none '%s'" or "touch '%s/f'; chmod 0 '%s'"
    os.execute(obstacle:format(busy, busy))
    local err = t.assert_raises(asyncio.OSError, fs.remove_tree, at .. "/t/")
    if is_root() then place.run("umount", busy) end
    t.assertEquals(err.code, is_root() and "EBUSY" or "EACCES")
    t.assertEquals(err.path, at .. "/t//a/b")
    place.run("chmod 700", busy)
    fs.remove_tree(at .. "/t")
  end)
end

-- Somebody puts a link to what is to be kept in place of a folder, and the folder back, all the time.
local SWAP = [[cd "$1" && while :; do
  mv t/d t/x && ln -s ../keep t/d
  rm t/d
  mv t/x t/d
done 2>/dev/null]]

function TestRemoveTree:test_is_not_led_elsewhere_by_a_link_that_is_put_in_its_way()
  in_place(function(at)
    os.execute(("cd '%s' && mkdir -p keep/e && touch keep/f keep/e/f"):format(at))
    local swapper <close> = asyncio.create_subprocess_shell(SWAP, { args = { at } })
    for _ = 1, t.count(300) do
      asyncio.pcall(fs.makedirs, at .. "/t/d/e")
      asyncio.pcall(fs.write_file, at .. "/t/d/e/g", "")
      asyncio.pcall(fs.remove_tree, at .. "/t")
    end
    swapper:kill()
    swapper:wait()
    t.assertTrue(fs.exists(at .. "/keep/f") and fs.exists(at .. "/keep/e/f"))
  end)
end

function TestRemoveTree:test_several_may_remove_the_same()
  in_place(function(at)
    for _ = 1, t.count(60) do
      for i = 1, 4 do fs.makedirs(("%s/t/%d/a"):format(at, i)) end
      local tasks, ended, gone = {}, 0, { "open", "ENOENT", at .. "/t" }
      for i = 1, 4 do tasks[i] = asyncio.create_task(pcall, fs.remove_tree, at .. "/t") end
      for _, task in ipairs(tasks) do
        local ok, err = asyncio.await(task)
        if ok then ended = ended + 1 else t.assertEquals({ err.syscall, err.code, err.path }, gone) end
      end
      t.assertTrue(ended >= 1)
      t.assertFalse(fs.exists(at .. "/t"))
    end
  end)
end

-- mkdtemp, mkstemp

function TestTemporary:test_folders_are_this_users_and_each_its_own()
  in_place(function(at)
    local a, b = fs.mkdtemp { dir = at }, fs.mkdtemp { dir = at .. "/", prefix = "p-", suffix = ".d" }
    t.assertEquals({ mode_of(a), mode_of(b) }, { "700", "700" })
    t.assertStrMatches(a:sub(#at + 1), "/lua_%w%w%w%w%w%w%w%w%w%w")
    t.assertStrMatches(b:sub(#at + 1), "/p%-%w%w%w%w%w%w%w%w%w%w%.d")
    t.assertNotEquals(fs.mkdtemp { dir = at, prefix = "" }, fs.mkdtemp { dir = at, prefix = "" })
  end)
end

function TestTemporary:test_files_are_open_to_be_read_and_written()
  in_place(function(at)
    local file, path = fs.mkstemp { dir = at, suffix = ".txt" }
    t.assertStrMatches(path:sub(#at + 1), "/lua_%w%w%w%w%w%w%w%w%w%w%.txt")
    t.assertEquals(mode_of(path), "600")
    do
      local opened <close> = file
      opened:write("one\n", 2, "\n")
      opened:seek("set", 0)
      t.assertEquals({ opened:read("l", "n") }, { "one", 2 })
      t.assertStrContains(tostring(opened), path)
    end
    t.assertEquals(fs.read_file(path), "one\n2\n")
    t.assert_raises(asyncio.FileNotFoundError, fs.mkstemp, { dir = at .. "/none" })
  end)
end

function TestTemporary:test_stand_where_the_environment_says()
  in_place(function(at)
    local script = at .. "/script"
    place.write(script, [[local asyncio = require "asyncio"; asyncio.run(function() print(asyncio.fs.mkdtemp()) end)]])
    local lua = os.getenv "SPEC_LUA" or os.getenv "LUA" or "lua5.4"
    local made = place.output(("TMPDIR='%s' %s '%s'"):format(at, lua, script))
    t.assertStrContains(made, at .. "/lua_")
    made = place.output(("TMPDIR= %s '%s'"):format(lua, script))
    os.remove(made)
    t.assertStrContains(made, "/tmp/lua_")
  end)
end

function TestTemporary:test_say_why_there_is_none()
  in_place(function(at)
    local err = t.assert_raises(asyncio.FileNotFoundError, fs.mkdtemp, { dir = at .. "/none" })
    t.assertStrMatches(err.path:sub(#at + 1), "/none/lua_%w+")
    err = t.assert_raises(asyncio.OSError, fs.mkstemp, { dir = at, suffix = ("x"):rep(300) })
    t.assertStrMatches(err.path:sub(#at + 1), "/lua_%w+x")
    t.assertStrContains(t.error_of(fs.mkdtemp, { prefix = "a/b" }), "'prefix': a slash or a zero byte")
  end)
end

t.finish()
