-- file_spec.lua - http.file: what is sent of a file, and what is not there.
local t = require "helper"
local program = require "program"
local site = require "http.site"

local asyncio = t.asyncio
local http = require "asyncio.http"

local fs = asyncio.fs

--- Runs fn(server, root, outside) with a folder that has some files; `root` stands in it.
local function run(fn, given)
  t.real(function(reports)
    local folder = fs.mkdtemp()
    local root = folder .. "/root"
    fs.makedirs(root .. "/a/b")
    fs.write_file(root .. "/a/b/tea.txt", "0123456789")
    fs.write_file(root .. "/empty.html", "")
    fs.write_file(folder .. "/secret", "secret")
    local server <close> = site.serve(given or function(request) return http.file(request, request.path, root) end)
    fn(server, root, folder, reports)
    fs.remove_tree(folder)
  end)
end

local function get(server, path, more, bodiless)
  return site.ask(server, ("%s %s HTTP/1.1\nHost: here\n%s\n"):format(bodiless and "HEAD" or "GET", path, more or ""),
    bodiless)
end

TestFile = {}

function TestFile:test_is_sent_with_what_is_known_of_it()
  run(function(server, root)
    fs.utime(root .. "/a/b/tea.txt", 784111777.5)
    local answer = get(server, "/a/b/tea.txt")
    t.assertEquals({ answer.status, answer.body }, { 200, "0123456789" })
    t.assertEquals(answer.headers["content-type"], "text/plain; charset=utf-8")
    t.assertEquals(answer.headers["last-modified"], "Sun, 06 Nov 1994 08:49:37 GMT")
    t.assertEquals({ answer.headers["content-length"], answer.headers["accept-ranges"] }, { "10", "bytes" })
    t.assertStrMatches(answer.headers.etag, '"%x+%-a"')
    t.assertEquals(get(server, "/empty.html").headers["content-length"], "0")
  end)
end

function TestFile:test_is_not_sent_to_head()
  run(function(server)
    local answer = get(server, "/a/b/tea.txt", nil, true)
    t.assertEquals({ answer.status, answer.headers["content-length"] }, { 200, "10" })
  end)
end

function TestFile:test_of_some_megabytes_arrives_whole()
  run(function(server, root)
    local big = ("0123456789abcdef"):rep(200000)
    fs.write_file(root .. "/big.bin", big)
    local answer = get(server, "/big.bin")
    t.assertTrue(answer.body == big)
    t.assertEquals(answer.headers["content-type"], "application/octet-stream")
  end)
end

function TestFile:test_is_only_read()
  run(function(server)
    local answer = site.ask(server, "POST /a/b/tea.txt HTTP/1.1\nHost: here\nContent-Length: 0\n\n")
    t.assertEquals({ answer.status, answer.headers.allow }, { 405, "GET, HEAD" })
  end)
end

function TestFile:test_is_not_there_outside_of_its_root()
  run(function(server, root, folder)
    fs.symlink("../secret", root .. "/link")
    fs.symlink(folder, root .. "/up")
    fs.symlink("/", root .. "/all")
    os.execute(("mkfifo '%s/fifo'"):format(root))
    fs.symlink("/dev/zero", root .. "/zero")
    for _, path in ipairs { "/none", "/a", "/a/", "/", "/../secret", "/a/../../secret", "/%2e%2e/secret",
      "/..%2fsecret", "/a/b/..%2f..%2f..%2fsecret", "/link", "/up/secret", "/up/root/../secret", "/all/etc/passwd",
      "/fifo", "/zero", "/a/b/tea.txt/", "/a/b/tea.txt/x", "/" .. ("x"):rep(300), "/../root/a/b/tea.txt" } do
      t.assertEquals({ path, get(server, path).status }, { path, 404 })
    end
  end)
end

function TestFile:test_is_there_by_links_and_dots_that_stay_inside()
  run(function(server, root)
    fs.symlink("b/tea.txt", root .. "/a/link")
    fs.symlink(root .. "/a", root .. "/whole")
    for _, path in ipairs { "/a/link", "/whole/b/tea.txt", "/a/../a/./b/tea.txt", "//a//b//tea.txt",
      "/up/../a/b/tea.txt" } do
      t.assertEquals({ path, get(server, path).status }, { path, path:find "^/up" and 404 or 200 })
    end
  end)
end

function TestFile:test_is_never_another_while_links_are_moved()
  run(function(server, root, folder)
    fs.mkdir(folder .. "/a")
    fs.makedirs(folder .. "/a/b")
    fs.write_file(folder .. "/a/b/tea.txt", "secret")
    local stop = false
    local swapper = asyncio.create_task(function()
      while not stop do
        fs.rename(root .. "/a", root .. "/away")
        fs.symlink("../a", root .. "/a")
        fs.unlink(root .. "/a")
        fs.rename(root .. "/away", root .. "/a")
      end
    end)
    for _ = 1, t.count(300) do
      local answer = get(server, "/a/b/tea.txt")
      t.assertTrue(answer.status == 404 or answer.body == "0123456789")
    end
    stop = true
    asyncio.await(swapper)
  end)
end

function TestFile:test_that_may_not_be_read_is_403()
  run(function(server, root)
    fs.chmod(root .. "/empty.html", "000")
    local is_root = program.shell "id -u" == "0\n" -- who may read everything
    t.assertEquals(get(server, "/empty.html").status, is_root and 200 or 403)
  end)
end

function TestFile:test_without_a_root_is_an_error_of_the_program()
  run(function(server, _, _, reports)
    t.assertEquals(get(server, "/x").status, 500)
    t.assert_isinstance(t.take_report(reports, "failed").exception, asyncio.FileNotFoundError)
  end, function(request) return http.file(request, request.path, "/nowhere/at/all") end)
end

function TestFile:test_refuses_wrong_arguments()
  run(function(server)
    t.assertEquals(get(server, "/x").body, "fine")
  end, function(request)
    t.assertErrorMsgContains("bad argument #1 to 'file' (request expected", http.file, {}, "x", "y")
    t.assertErrorMsgContains("bad argument #2 to 'file' (path (a string)", http.file, request, nil, "y")
    t.assertErrorMsgContains("bad argument #3 to 'file' (root (a folder's path)", http.file, request, "x")
    t.assertErrorMsgContains("bad argument #3 to 'file' (a folder's path", http.file, request, "x", "")
    return "fine"
  end)
end

TestConditions = {}

function TestConditions:test_are_heeded_in_their_order()
  run(function(server, root)
    fs.utime(root .. "/a/b/tea.txt", 784111777)
    local tag = get(server, "/a/b/tea.txt").headers.etag
    local before, at, after = "Sun, 06 Nov 1994 08:49:36 GMT", "Sun, 06 Nov 1994 08:49:37 GMT",
      "Sunday, 06-Nov-94 08:49:38 GMT"
    for _, case in ipairs {
      { 304, "If-None-Match: " .. tag }, { 304, "If-None-Match: \"x\", W/" .. tag }, { 304, "If-None-Match: *" },
      { 200, 'If-None-Match: "x"' }, { 200, 'If-None-Match: "x"\nIf-Modified-Since: ' .. at },
      { 304, "If-Modified-Since: " .. at }, { 304, "If-Modified-Since: " .. after },
      { 200, "If-Modified-Since: " .. before }, { 200, "If-Modified-Since: yesterday" },
      { 200, "If-Match: " .. tag }, { 412, "If-Match: W/" .. tag }, { 412, 'If-Match: "x"' }, { 200, "If-Match: *" },
      { 412, "If-Unmodified-Since: " .. before }, { 200, "If-Unmodified-Since: " .. at },
      { 200, "If-Match: " .. tag .. "\nIf-Unmodified-Since: " .. before },
    } do
      local answer = get(server, "/a/b/tea.txt", case[2] .. "\n")
      t.assertEquals({ case[2], answer.status }, { case[2], case[1] })
      t.assertEquals(answer.headers.etag, tag)
    end
  end)
end

TestRange = {}

function TestRange:test_is_a_part_of_the_file()
  run(function(server)
    for range, expected in pairs {
      ["bytes=0-3"] = { 206, "0123", "bytes 0-3/10" }, ["bytes=4-"] = { 206, "456789", "bytes 4-9/10" },
      ["bytes=-3"] = { 206, "789", "bytes 7-9/10" }, ["bytes=8-100"] = { 206, "89", "bytes 8-9/10" },
      ["bytes=-100"] = { 206, "0123456789", "bytes 0-9/10" }, ["Bytes=9-9"] = { 206, "9", "bytes 9-9/10" },
      ["bytes=10-"] = { 416, "416 Range Not Satisfiable\n", "bytes */10" },
      ["bytes=-0"] = { 416, "416 Range Not Satisfiable\n", "bytes */10" },
      ["bytes=3-2"] = { 200, "0123456789" }, ["bytes=0-1,3-4"] = { 200, "0123456789" },
      ["lines=1-2"] = { 200, "0123456789" }, ["bytes=x"] = { 200, "0123456789" }, ["bytes=-"] = { 200, "0123456789" },
      ["bytes=99999999999999999999-"] = { 416, "416 Range Not Satisfiable\n", "bytes */10" },
    } do
      local answer = get(server, "/a/b/tea.txt", "Range: " .. range .. "\n")
      t.assertEquals({ range, answer.status, answer.body, answer.headers["content-range"] },
        { range, table.unpack(expected) })
    end
  end)
end

function TestRange:test_depends_on_its_condition()
  run(function(server, root)
    fs.utime(root .. "/a/b/tea.txt", 784111777)
    local tag = get(server, "/a/b/tea.txt").headers.etag
    for condition, status in pairs {
      [tag] = 206, ['"x"'] = 200, ["W/" .. tag] = 200, ["Sun, 06 Nov 1994 08:49:37 GMT"] = 206,
      ["Sun, 06 Nov 1994 08:49:38 GMT"] = 200, nonsense = 200,
    } do
      local answer = get(server, "/a/b/tea.txt", ("Range: bytes=0-1\nIf-Range: %s\n"):format(condition))
      t.assertEquals({ condition, answer.status }, { condition, status })
    end
  end)
end

function TestRange:test_is_of_no_account_to_head()
  run(function(server)
    t.assertEquals(get(server, "/a/b/tea.txt", "Range: bytes=0-1\n", true).status, 200)
  end)
end

t.finish()
