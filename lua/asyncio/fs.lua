--- Files and folders by their paths, off the loop: `asyncio.fs`. Each call runs on a thread, at most 32 at
-- once; others wait for their turn. It suspends the calling task only. A file system that hangs holds up who
-- asks it, nobody else, and neither the end of the loop nor that of the program.
--
-- Cancelled, a call lets its caller go at once. If it has not begun, nothing happens; if it is under way, it
-- is done whole, and its result dropped, but for `write_file`.
--
-- Paths are strings of bytes, relative ones are looked up in the process's folder. A mode is an integer or
-- octal digits in a string, `"644"`. What fails raises an OSError with `path` (and `path2`, where there are
-- two), `code` and `syscall`: FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError,
-- PermissionError, or an OSError like ENOTEMPTY, ENOSPC. Open files are `asyncio.open`'s.
-- @module asyncio.fs
-- @usage
-- local fs = asyncio.fs
-- local folder = fs.mkdtemp()
-- fs.write_file(folder .. "/tea.txt", "green\n", { atomic = true })
-- print(fs.list_dir(folder)[1], fs.stat(folder .. "/tea.txt").size) --> tea.txt  6
-- fs.remove_tree(folder)
local check = require "asyncio.check"
local core = require "asyncio.core"

local fs = {}

local call = core.fs_call -- (verb, path, another path or bytes, two numbers, a boolean)
local MOST_ID = 2 ^ 32 - 2 | 0
local MODE = 'a mode expected, an integer or octal digits like "644", got %s'

-- Arguments

local function without_zeros(n, name, text)
  if text:find("\0", 1, true) then check.error(n, name, "a zero byte, which no path has") end
  return text
end

local function check_path(n, name, path)
  if type(path) ~= "string" then check.fail(n, name, "path (a string)", path) end
  return without_zeros(n, name, path)
end

--- 0 to 7777; key: it is that option's
local function check_mode(n, name, mode, key)
  if mode == nil and name ~= "chmod" then return nil end
  return check.mode(mode, 4095)
    or check.error(n, name, (key and ("'%s': "):format(key) or "") .. MODE:format(core.words(mode)))
end

local function check_id(n, name, id)
  if id ~= nil and (math.type(id) ~= "integer" or id < 0 or id > MOST_ID) then
    check.fail(n, name, "id (an integer) or nil", id)
  end
  return id
end

-- Whoever was called is named in errors, so none of them makes a tail call.

--- A call with one path.
local function on_path(verb, path, ...) return call(verb, check_path(1, verb, path), nil, ...) end

--- A call with two.
local function on_paths(verb, path, path2)
  check_path(1, verb, path)
  return call(verb, path, check_path(2, verb, path2))
end

-- What is in a file

--- All that is in a file.
-- @string path
-- @treturn string
function fs.read_file(path) return (on_path("read_file", path)) end

local WRITE_OPTIONS = check.options { "write_file", 3, { "atomic", "boolean" }, { "mode", "any" } }

--- Writes a file: a new one, or in place of all that was in it. With `atomic` a new file is written beside
-- it, brought to the disk, and renamed: who reads, and who finds it after a crash, sees the old content or
-- the new one, never a part. It has the former's mode and, as far as this process may give them away, owner
-- and group; links to the path are followed; other names of the former (hard links) keep the old content.
-- What fails leaves the former as it was, and nothing beside it.
--
-- Cancelled, it stops as soon as the system answers: an atomic one leaves the former, unless it is renaming
-- already; another leaves a part, and up to 1 MiB may still be written after its caller has gone.
-- @string path
-- @string data
-- @tparam[opt] table opts `atomic` (false); `mode`: exactly that, whatever the umask. Without it a new file
-- has 666 less the umask, and one that is there keeps its own
-- @usage
-- local path = os.tmpname()
-- asyncio.fs.write_file(path, "a key", { atomic = true, mode = "600" })
-- print(asyncio.fs.read_file(path)) --> a key
-- os.remove(path)
function fs.write_file(path, data, opts)
  check_path(1, "write_file", path)
  if type(data) ~= "string" then check.fail(2, "write_file", "string", data) end
  opts = WRITE_OPTIONS(opts)
  call("write_file", path, data, check_mode(3, "write_file", opts.mode, "mode"), nil, opts.atomic)
end

--- Copies a regular file, with its permissions (not its owner, nor setuid and setgid), within the kernel
-- where that can. What `to` had is lost; the copy of a file to itself is refused. A copy that fails leaves
-- no new file. A link to nothing gets its file.
-- @string from
-- @string to the file itself, not the folder
function fs.copy_file(from, to) on_paths("copy_file", from, to) end

-- What is known of a path

--- What is known of a file, or of what a link points to.
-- @string path
-- @treturn table `type` (`"file"`, `"directory"`, `"link"`, `"fifo"`, `"socket"`, `"char"`, `"block"`,
-- `"unknown"`), `size` in bytes, `mode` (the permission bits, an integer), `mtime`, `atime`, `ctime` (seconds
-- since 1970, with fractions), `ino`, `dev`, `nlink`, `uid`, `gid`
-- @usage
-- print(asyncio.fs.stat("/dev/null").type, ("%o"):format(asyncio.fs.stat("/").mode & 7)) --> char  5
function fs.stat(path) return (on_path("stat", path)) end

--- As `stat`, but of a link itself.
-- @string path
-- @treturn table
function fs.lstat(path) return (on_path("lstat", path)) end

--- Whether there is something at that path. A link that points to nothing counts as nothing.
-- Raises when that can't be found out, as for a folder that may not be looked into.
-- @string path
-- @treturn boolean
function fs.exists(path) return (on_path("exists", path)) end

local RIGHTS = { r = 4, w = 2, x = 1 }

--- Whether this process may do that with a file. It may be otherwise a moment later: to open it and look at
-- the error is better, where that can be done.
-- @string path
-- @string[opt=""] rights letters of `"rwx"`: read, write, run (or go through, a folder); none: it is there
-- @treturn boolean
function fs.access(path, rights)
  check_path(1, "access", path)
  if rights ~= nil and (type(rights) ~= "string" or rights:find "[^rwx]") then
    check.error(2, "access", 'letters of "rwx" expected, got ' .. core.words(rights))
  end
  local bits = 0
  for letter in (rights or ""):gmatch "." do bits = bits | RIGHTS[letter] end
  return (call("access", path, nil, bits))
end

--- The absolute path without links, `.` and `..`; all of it must be there.
-- @string path
-- @treturn string
function fs.real_path(path) return (on_path("real_path", path)) end

-- Names

--- Gives a file, or folder, another name, in place of what has it. Both must be in one file system (EXDEV).
-- @string from
-- @string to
function fs.rename(from, to) on_paths("rename", from, to) end

--- Removes a file, or a link; not a folder.
-- @string path
function fs.unlink(path) on_path("unlink", path) end

--- Gives a file one more name (a hard link).
-- @string path
-- @string new
function fs.link(path, new) on_paths("link", path, new) end

--- Makes a symbolic link.
-- @string target what it says; nothing need be there. If relative, it is looked up from the link's folder
-- @string path the link
function fs.symlink(target, path) on_paths("symlink", target, path) end

--- What a symbolic link says.
-- @string path
-- @treturn string
function fs.read_link(path) return (on_path("read_link", path)) end

-- Rights and times

--- Sets the permissions of a file, or of what a link points to.
-- @string path
-- @param mode an integer, or octal digits like `"644"`
function fs.chmod(path, mode)
  check_path(1, "chmod", path)
  call("chmod", path, nil, check_mode(2, "chmod", mode))
end

--- Sets the owner and the group of a file, or of what a link points to.
-- @string path
-- @tparam ?integer uid nil: as it is
-- @tparam ?integer gid nil: as it is
function fs.chown(path, uid, gid)
  check_path(1, "chown", path)
  call("chown", path, nil, check_id(2, "chown", uid), check_id(3, "chown", gid))
end

local FAR = 2 ^ 53

local function check_time(n, time)
  if time ~= nil and (type(time) ~= "number" or not (time > -FAR and time < FAR)) then
    check.fail(n, "utime", "time (seconds since 1970) or nil", time)
  end
end

--- Sets when a file was last read and changed.
-- @string path
-- @number[opt] atime seconds since 1970; without it both are now's
-- @number[opt=atime] mtime
function fs.utime(path, atime, mtime)
  check_path(1, "utime", path)
  check_time(2, atime)
  check_time(3, mtime)
  if mtime and not atime then check.fail(2, "utime", "time (seconds since 1970)", atime) end
  call("utime", path, nil, atime, mtime or atime, atime == nil)
end

-- Folders

--- Makes a folder.
-- @string path
-- @param[opt] mode exactly that, whatever the umask; without it 777 less the umask
function fs.mkdir(path, mode)
  check_path(1, "mkdir", path)
  call("mkdir", path, nil, check_mode(2, "mkdir", mode))
end

--- Makes a folder, and those above it that are missing. One that is there is no error.
-- @string path
-- @param[opt] mode of the last one, if it is made
function fs.makedirs(path, mode)
  check_path(1, "makedirs", path)
  call("makedirs", path, nil, check_mode(2, "makedirs", mode))
end

--- Removes an empty folder.
-- @string path
function fs.rmdir(path) on_path("rmdir", path) end

--- Removes a folder with all that is in it. No link is followed: links are removed, what they point to stays;
-- a path that is a link itself raises NotADirectoryError. What others remove meanwhile is no error. The
-- first thing that can't be removed ends it: `path` of the error says which.
-- @string path
function fs.remove_tree(path) on_path("remove_tree", path) end

local function check_part(key, name, opts)
  local text = opts[key]
  if text and text:find "[/%z]" then check.error(1, name, ("'%s': a slash or a zero byte"):format(key)) end
  return text
end

--- The folder, prefix and suffix, the length of the prefix.
local function temp_arguments(name, opts)
  local prefix = check_part("prefix", name, opts) or "lua_"
  local dir = without_zeros(1, name, opts.dir or core.environment "TMPDIR" or "/tmp")
  return dir == "" and "/tmp" or dir, prefix .. (check_part("suffix", name, opts) or ""), #prefix
end

local MKDTEMP_OPTIONS = check.options { "mkdtemp", 1, { "dir", "string" }, { "prefix", "string" },
  { "suffix", "string" } }
local MKSTEMP_OPTIONS = check.options { "mkstemp", 1, { "dir", "string" }, { "prefix", "string" },
  { "suffix", "string" } }

--- Makes a folder with a name that nothing had, for this user only (700). Nobody removes it but who has made
-- it.
-- @tparam[opt] table opts `dir`: where (`$TMPDIR`, or `/tmp`); `prefix` ("lua_"), `suffix` (""): of its name
-- @treturn string its path
-- @usage
-- local folder = asyncio.fs.mkdtemp { prefix = "build-" }
-- local _ <close> = asyncio.defer(asyncio.fs.remove_tree, folder)
function fs.mkdtemp(opts)
  opts = MKDTEMP_OPTIONS(opts)
  return (call("mkdtemp", temp_arguments("mkdtemp", opts)))
end

--- Makes and opens a file with a name that nothing had, for this user only (600).
-- @tparam[opt] table opts `dir`, `prefix`, `suffix`: as `mkdtemp`'s
-- @treturn File to be read and written
-- @treturn string its path
function fs.mkstemp(opts)
  opts = MKSTEMP_OPTIONS(opts)
  local file, path = call("mkstemp", temp_arguments("mkstemp", opts))
  return file, path
end

-- Listing

--- Calls visit(name, type) for all that is in a folder; returns its core.Folder. above: that of the folder
-- that it is in; the path may be no link then
local function visit_all(path, above, visit)
  local folder <close> = core.open_folder(path, above)
  repeat
    local records, more = core.read_folder(folder)
    for i = 1, #records, 2 do visit(records[i], records[i + 1]) end
  until not more
  return folder
end

--- The names of all that is in a folder but `.` and `..`, in no order.
-- @string path
-- @treturn {string,...}
function fs.list_dir(path)
  check_path(1, "list_dir", path)
  local names = {}
  visit_all(path, nil, function(name) names[#names + 1] = name end)
  return names
end

local Scan = { __name = "asyncio.fs.scan_dir" }

local CUT = "the scan has ended: a step of it was cancelled, or failed, and names may be missing; "
  .. "begin another"

--- What a step that was cancelled would have read is lost: so the scan has ended, and says so.
local function next_records(scan)
  if scan.cut then error(core.ClosedError(core.place() .. CUT), 0) end
  if not scan.more then return nil end
  local ok, records, more = core.catch(core.read_folder, scan.folder)
  if not ok then
    if not core.isinstance(records, core.BusyError) then
      scan.cut = true
      core.close_folder(scan.folder)
    end
    error(records, 0)
  end
  scan.records, scan.more, scan.i = records, more, 0
  return records[1]
end

function Scan.__call(scan)
  local name = scan.records[scan.i + 1] or next_records(scan)
  if not name then return nil end
  scan.i = scan.i + 2
  return { name = name, type = scan.records[scan.i] }
end

function Scan.__close(scan)
  scan.records, scan.i, scan.more, scan.cut = {}, 0, false, false
  core.close_folder(scan.folder)
end

--- Goes through a folder, for `for`: what is in it is read in portions, so that it may be large. In no order.
-- The folder is opened at the call, and closed when the loop is left. A step that was cancelled ends it: the
-- next one raises ClosedError, since names may be missing.
-- @string path
-- @return what `for` needs (the first or the fourth value closes the folder, where no `for` does); each entry
-- is a table: `name`, `type` (as `stat`'s; of a link `"link"`)
-- @usage
-- for entry in asyncio.fs.scan_dir "/dev" do
--   if entry.name == "null" then print(entry.type) end --> char
-- end
function fs.scan_dir(path)
  check_path(1, "scan_dir", path)
  local scan = { folder = core.open_folder(path), records = {}, i = 0, more = true }
  setmetatable(scan, Scan)
  scan.records, scan.more = core.read_folder(scan.folder)
  return scan, nil, nil, scan
end

-- Walking

local function join(folder, name) return folder:sub(-1) == "/" and folder .. name or folder .. "/" .. name end

local GONE = { ENOENT = true, ENOTDIR = true, ELOOP = true } -- or replaced by a link or a file

local WALK_OPTIONS = check.options { "walk", 2, { "on_error", "function" } }

local function read_both(path, above)
  local dirs, files = {}, {}
  local opened = visit_all(path, above, function(name, kind)
    local list = kind == "directory" and dirs or files
    list[#list + 1] = name
  end)
  return dirs, files, opened
end

--- The next folder of the way that is to be entered, and the core.Folder it is in; nil: there is none. way: a
-- list of { folder=, opened=, dirs=, i= }
local function next_folder(way)
  while #way > 0 do
    local top = way[#way]
    top.i = top.i + 1
    local name = top.dirs[top.i]
    if name then
      if type(name) ~= "string" then
        check.raise("a name expected in a list of folders, got " .. core.kind_of(name))
      end
      return join(top.folder, name), top.opened
    end
    way[#way] = nil
  end
end

--- Reads a folder below the first; nil where that is to be passed over.
local function read_below(folder, above, on_error)
  local ok, dirs, files, opened = core.pcall(read_both, folder, above)
  if ok then return dirs, files, opened end
  if core.isinstance(dirs, core.OSError) then
    if GONE[dirs.code] then return nil end
    if on_error then
      on_error(dirs)
      return nil
    end
  end
  error(dirs, 0)
end

--- Goes through a folder and all below it, for `for`, from the top down. No link is followed. For each folder
-- there is a list of the names of the folders in it, and one of all else. What is taken out of `dirs` is not
-- entered; they are entered in their order, `table.sort` will do. Folders that vanish meanwhile are passed
-- over; what can't be read is an error, as is what is no longer in the folder in which it was found (EBUSY).
-- @string path
-- @tparam[opt] table opts `on_error`: function(err), called in place of raising for a folder below `path`
-- that can't be read; that is passed over then
-- @return what `for` needs; `folder` (its path), `dirs`, `files`
-- @usage
-- local size = 0
-- for folder, dirs, files in asyncio.fs.walk "src" do
--   for i = #dirs, 1, -1 do
--     if dirs[i] == "tls" then table.remove(dirs, i) end
--   end
--   for _, name in ipairs(files) do size = size + asyncio.fs.lstat(folder .. "/" .. name).size end
-- end
function fs.walk(path, opts)
  check_path(1, "walk", path)
  local on_error = WALK_OPTIONS(opts).on_error
  local way = {}
  local function enter(folder, dirs, files, opened)
    way[#way + 1] = { folder = folder, opened = opened, dirs = dirs, i = 0 }
    return folder, dirs, files
  end
  local begun = false
  return function()
    if not begun then
      local dirs, files, opened = read_both(path)
      begun = true
      return enter(path, dirs, files, opened)
    end
    while true do
      local folder, above = next_folder(way)
      if not folder then return nil end
      local dirs, files, opened = read_below(folder, above, on_error)
      if dirs then return enter(folder, dirs, files, opened) end
    end
  end
end

-- What happens to them

--- Tells what happens to a file, or to a folder and the names in it: `for event in fs.watch(path) do`.
-- It has begun when this returns, so nothing that happens from then on is missed; leaving the loop ends it.
--
-- An event is a table: `path` is the path that was given, with the name behind it, and `kind` one of
--
-- - `"created"`, `"removed"`: it has come, or gone, also from or to where nobody watches
-- - `"changed"`: its content, permissions or times; or something else was renamed over a watched file
-- - `"renamed"`: it has another name within what is watched; `from` is the former one
-- - `"rescan"`: more happened than could be kept. Look at everything anew, and go on; `path` is as given
--
-- What is watched is the name: a file that another is renamed over, as editors do, or that is removed and
-- made again, as when logs are rotated, is watched on. When the folder that it stands in has gone as well,
-- the iteration ends. A link at the path that was given is followed, none below it. Where a folder is made,
-- or moved in, a recursive watch tells of what it holds, too; folders that may not be read are left out.
-- Several tasks may take events from one watch: each gets others.
--
-- With `debounce` what happens to a path within so many seconds of a first event is told as one when they
-- are over: one that was made and written is `"created"`, of one that came and went nothing is told.
--
-- It is Linux's inotify that tells; elsewhere this raises an OSError. Of what other machines do on a
-- network's file system nothing is told. The system's limit of watches (a recursive one takes one for
-- each folder) raises an OSError that says what to do; for a folder that comes later, where the next event
-- would have come, and that ends it.
-- @string path a file or a folder
-- @tparam[opt] table opts `recursive` (false): folders below it, too; `debounce` (0): seconds
-- @treturn Watch is called for the next event; gives `nil` at the end
-- @return nil
-- @return nil
-- @treturn Watch the same, so that a `for` closes it
-- @usage
-- local fs = asyncio.fs
-- local folder = fs.mkdtemp()
-- local watch <close> = fs.watch(folder)
-- fs.write_file(folder .. "/tea.txt", "")
-- print(watch().kind) --> created
-- fs.remove_tree(folder)
function fs.watch(path, opts) return core.watch(path, opts) end

return fs
