-- What may not be read, written or removed, for a user who isn't root.
local t = require "helper"
local peers = require "peers"
local place = require "files.place"

TestForbidden = {}

--- What a program prints whose user is nobody; it finds `fs` and `at`, a folder of nobody's, and `try`.
local function as_nobody(source)
  if not peers.has "setpriv" then t.skip "setpriv is not installed" end
  local at, gone = place.new()
  local _ <close> = gone
  local script = at .. "/script"
  place.write(script, ([[
    local asyncio = require "asyncio"
    local fs, at = asyncio.fs, %q
    --- Calls, and prints the error's class and code, and where.
    local function try(fn, ...)
      local ok, err = asyncio.pcall(fn, ...)
      if ok then print("well", err) return end
      print(asyncio.isinstance(err, asyncio.PermissionError) and "PermissionError" or tostring(err), err.code,
        (err.path:gsub("^" .. at, ""):gsub("^(/d/lua_)%%w+$", "%%1")))
    end
    asyncio.run(function() %s end)]]):format(at .. "/mine", source))
  os.execute(("mkdir '%s/mine'; chmod a+rx '%s' '%s'; [ $(id -u) != 0 ] || chown 65534 '%s/mine'"):format(at, at,
    script, at))
  local user = place.output "id -u" == "0" and "setpriv --reuid 65534 --clear-groups" or ""
  local lua = os.getenv "SPEC_LUA" or os.getenv "LUA" or "lua5.4"
  return place.output(("%s %s '%s' 2>&1"):format(user, lua, script))
end

function TestForbidden:test_a_file_that_may_not_be_read_or_written_says_so()
  t.assertEquals(as_nobody [[
    fs.write_file(at .. "/f", "x", { mode = "0" })
    try(fs.read_file, at .. "/f")
    try(fs.write_file, at .. "/f", "y")
    try(fs.copy_file, at .. "/f", at .. "/g")
    try(fs.write_file, at .. "/f", "y", { atomic = true }) -- it is the folder that counts
    print(fs.access(at .. "/f", "r"), fs.access(at .. "/f"), fs.stat(at .. "/f").mode)
  ]], ("PermissionError\tEACCES\t/f\n"):rep(3) .. "well\tnil\nfalse\ttrue\t0")
end

function TestForbidden:test_another_users_file_keeps_its_content_when_its_mode_may_not_be_set()
  if place.output "id -u" ~= "0" then t.skip "needs root, to have another user's file" end
  local path <close> = setmetatable({ os.tmpname() }, { __close = function(path) os.remove(path[1]) end })
  place.write(path[1], "precious")
  place.run("chmod 666", path[1])
  t.assertEquals(as_nobody(([[
    fs.write_file(at .. "/f", "x", { mode = "4755" }) -- to write would take the 4 away
    print(("%%o"):format(fs.stat(at .. "/f").mode))
    try(fs.write_file, %q, "y", { mode = "600" })
    print(fs.read_file(%q))
  ]]):format(path[1], path[1])), "4755\nPermissionError\tEPERM\t" .. path[1] .. "\nprecious")
end

function TestForbidden:test_an_empty_folder_that_may_not_be_read_is_removed()
  t.assertEquals(as_nobody [[
    fs.mkdir(at .. "/d", "311")
    try(fs.remove_tree, at .. "/d")
    fs.mkdir(at .. "/d", "311")
    fs.write_file(at .. "/d/f", "x")
    try(fs.remove_tree, at .. "/d")
    print(fs.exists(at .. "/d/f"))
    fs.chmod(at .. "/d", "700") -- so that it can be removed
  ]], "well\tnil\nPermissionError\tEACCES\t/d\ntrue")
end

function TestForbidden:test_a_folder_that_may_only_be_entered_takes_an_atomic_write()
  t.assertEquals(as_nobody [[
    fs.mkdir(at .. "/d", "300")
    try(fs.write_file, at .. "/d/f", "x", { atomic = true })
    try(fs.read_file, at .. "/d/f")
    try(fs.list_dir, at .. "/d")
    fs.chmod(at .. "/d", "500")
    try(fs.write_file, at .. "/d/f", "y", { atomic = true })
    try(fs.mkdtemp, { dir = at .. "/d" })
    print(fs.list_dir(at .. "/d")[1], fs.list_dir(at .. "/d")[2])
  ]], "well\tnil\nwell\tx\nPermissionError\tEACCES\t/d\nPermissionError\tEACCES\t/d/f\n"
    .. "PermissionError\tEACCES\t/d/lua_\nf\tnil")
end

function TestForbidden:test_whether_something_exists_may_not_be_asked_everywhere()
  t.assertEquals(as_nobody [[
    fs.makedirs(at .. "/d/e")
    fs.chmod(at .. "/d", "0")
    try(fs.exists, at .. "/d/e")
    print(fs.access(at .. "/d/e"))
    for folder in fs.walk(at, { on_error = function(err) print(err.code, (err.path:gsub(at, ""))) end }) do
      print((folder:gsub(at, "")))
    end
    try(function() for folder in fs.walk(at) do print((folder:gsub(at, ""))) end end)
  ]], "PermissionError\tEACCES\t/d/e\nfalse\n\nEACCES\t/d\n\nPermissionError\tEACCES\t/d")
end

function TestForbidden:test_remove_tree_says_what_it_may_not_enter_and_removes_what_is_empty()
  t.assertEquals(as_nobody [[
    fs.makedirs(at .. "/t/a/b")
    fs.chmod(at .. "/t/a", "300")
    try(fs.remove_tree, at .. "/t")
    fs.chmod(at .. "/t/a", "500")
    try(fs.remove_tree, at .. "/t")
    fs.chmod(at .. "/t/a", "700")
    fs.chmod(at .. "/t/a/b", "0")
    try(fs.remove_tree, at .. "/t")
    print(fs.exists(at .. "/t"))
  ]], "PermissionError\tEACCES\t/t/a\nPermissionError\tEACCES\t/t/a/b\nwell\tnil\nfalse")
end

function TestForbidden:test_an_owner_is_not_given_away()
  t.assertEquals(as_nobody [[
    try(fs.chown, at, 0)
    try(fs.chmod, "/etc", "777")
    try(fs.utime, "/etc", 0)
    try(fs.unlink, "/etc/passwd")
  ]], "PermissionError\tEPERM\t\nPermissionError\tEPERM\t/etc\nPermissionError\tEPERM\t/etc\n"
    .. "PermissionError\tEACCES\t/etc/passwd")
end

t.leave_out(TestForbidden, "coverage") -- nobody may not write what was counted

t.finish()
