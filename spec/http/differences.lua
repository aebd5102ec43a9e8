--- Where Python's h11 and Node's llhttp read otherwise than we do, one by one, and why we don't as they do.
-- Each has patterns for what we go on with (`ours`) and what they go on with (`theirs`) behind what is the same, and
-- may have a pattern that the bytes match. `peer` and `role`: only that one's. That both refuse, each in its own
-- words, is no difference.
return {
  -- Sooner or later
  {
    ours = "^error", theirs = "^need",
    why = "We refuse a line as soon as it is there; they wait for more.",
  },
  {
    peer = "llhttp", ours = "^need", theirs = "^error",
    why = "llhttp refuses a byte; we refuse a first line, a chunk's line, or a head when that is whole.",
  },
  {
    peer = "llhttp", ours = "^part", theirs = "^error",
    why = "Likewise in trailers, and in a chunk's line.",
  },

  -- What h11 takes
  {
    peer = "h11", ours = "^error:a_line_ends_with_LF_alone", theirs = "",
    why = "h11 takes LF for CR LF in heads (0.12 and later); a proxy that doesn't sees another message.",
  },
  {
    peer = "h11", ours = "^error:Host_is_no_host", theirs = "^head",
    why = "h11 leaves Host's value to who uses it. RFC 9112 3.2: an invalid value is answered with 400.",
  },
  {
    peer = "h11", ours = "^error:Connection_is_no_list_of_tokens", theirs = "^head",
    why = "h11 looks for the tokens that it knows, and passes over what is none.",
  },
  {
    peer = "h11", ours = "^error:the_target_is_neither", theirs = "^head",
    why = "h11 leaves the target to who uses it, whatever its form.",
  },
  {
    peer = "h11", ours = "^error:the_target_has_a_character", theirs = "", bytes = "#",
    why = "Likewise a fragment, which no target has (RFC 9112 3.2): what is cut off there depends on who reads.",
  },
  {
    peer = "h11", ours = "^error:the_path_has_an_escape", theirs = "^head",
    why = "Likewise: h11 decodes no path.",
  },
  {
    peer = "h11", ours = "^error:a_field_goes_on", theirs = "",
    why = "h11 joins folded lines. RFC 9112 5.2 leaves a server the choice of 400, which is unmistakable.",
  },
  {
    peer = "h11", ours = "^error:a_field's_value_has_a_control", theirs = "",
    why = "h11 takes most controls in values. RFC 9110 5.5: they are invalid, and dangerous to whoever passes them on.",
  },
  {
    peer = "h11", role = "client", ours = "^error:the_answer's_reason_has_a_control", theirs = "",
    why = "Likewise in reasons.",
  },
  {
    peer = "h11", ours = "^error:a_chunk's_extension", theirs = "",
    why = "h11 takes anything behind the semicolon.",
  },
  {
    peer = "h11", ours = "^error:a_chunk's_size", theirs = "", bytes = "%x[ \t]+\r",
    why = "h11 takes spaces behind a chunk's size. RFC 9112 7.1 has none there.",
  },
  {
    peer = "h11", ours = "^error:there_are_both", theirs = "^head",
    why = "h11 lets Transfer-Encoding win. RFC 9112 6.3: such a message is likely to be smuggling.",
  },
  {
    peer = "h11", ours = "^error:HTTP/1.0_has_no_Transfer", theirs = "^head",
    why = "h11 takes chunks from HTTP/1.0. RFC 9112 6.1: that framing is faulty.",
  },
  {
    peer = "h11", ours = "^error:Content%-Length_is_there_twice", theirs = "^head",
    why = "h11 takes the same length twice as one. RFC 9110 8.6 allows both; in requests we refuse it, as llhttp does.",
  },
  {
    peer = "h11", ours = "^error:Content%-Length_is_no_number", theirs = "^head",
    why = "h11 takes `5, 5` as 5, and numbers up to 20 digits; ours end at 2^53, which every peer can count to.",
  },
  {
    ours = "^error:the_version_is_not", theirs = "^head",
    why = "h11 takes any version, llhttp 0.9 and 2.0, and leaves them to who uses it.",
  },
  {
    ours = "^error:a_trailer_says", theirs = "^body",
    why = "h11 gives such trailers as any, llhttp most in answers. RFC 9110 6.5.1: they are not to be sent.",
  },
  {
    peer = "h11", role = "client", ours = "^head", theirs = "^head",
    bytes = "[Cc]ontent%-[Ll]ength[^\r]*\r\n.*[Cc]ontent%-",
    why = "In answers both take the same length twice; h11 then shows one of the fields, we show what was sent.",
  },

  {
    peer = "h11", ours = "^error:Transfer%-Encoding_is_not", theirs = "^head", bytes = ":[^\n]*\r?\n[ \t]",
    why = "h11 joins folded lines, and then has `chunked`.",
  },
  {
    peer = "h11", ours = "^error:there_is_no_target", theirs = "^head", bytes = " #",
    why = "A fragment again, which is all that there is.",
  },
  {
    peer = "h11", ours = "^error:there_is_no_Host", theirs = "^head", bytes = "HTTP/1%.[2-9]",
    why = "h11 wants a Host of HTTP/1.1 only; what is later is read as that.",
  },
  {
    peer = "h11", role = "client", ours = "^head", theirs = "^head", bytes = "[Cc]h[Uu]",
    why = "h11 shows Transfer-Encoding in lower case; we show what was sent.",
  },
  {
    peer = "h11", role = "client", ours = "^error:the_answer_doesn't_begin", theirs = "",
    why = "h11 takes any version, and leaves it to who uses it.",
  },
  {
    peer = "h11", ours = "^error:a_chunk's_size", theirs = "", bytes = ("%x"):rep(17),
    why = "h11 takes sizes of 20 hexadecimal digits; ours have 16, and end at 2^53.",
  },

  -- What h11 doesn't take
  {
    peer = "h11", role = "server", ours = "", theirs = "^over", bytes = "HTTP/1.0",
    why = "h11 closes after each HTTP/1.0 request. `Connection: keep-alive` is in use still (wrk, ab, old proxies).",
  },
  {
    peer = "h11", role = "server", ours = "", theirs = "^switch", bytes = "[Uu]pgra[Dd]e:",
    why = "h11 believes Upgrade without `Connection: upgrade`, and in HTTP/1.0. RFC 9110 7.8: it is ignored then.",
  },
  {
    peer = "h11", role = "server", ours = "", theirs = "^error:no_request_line", bytes = "\r\n",
    why = "h11 refuses the empty line before a request which RFC 9112 2.2 has a server ignore.",
  },

  {
    peer = "h11", role = "server", ours = "^need", theirs = "^error:illegal_request_line", bytes = "\r$",
    why = "We wait for the LF behind a CR.",
  },

  -- What llhttp takes
  {
    peer = "llhttp", ours = "^error:there_is_no_Host", theirs = "^head",
    why = "Host is looked at by Node's server, not by llhttp.",
  },
  {
    peer = "llhttp", ours = "^error:Host_is_", theirs = "^head",
    why = "Likewise.",
  },
  {
    peer = "llhttp", ours = "^error:Transfer%-Encoding_", theirs = "^head",
    why = "llhttp gives the head, and refuses the body (or reads an answer's to the end); we refuse the message.",
  },
  {
    peer = "llhttp", ours = "^error:HTTP/1.0_has_no_Transfer", theirs = "^head",
    why = "llhttp takes chunks from HTTP/1.0. RFC 9112 6.1: that framing is faulty.",
  },
  {
    peer = "llhttp", ours = "^error:there_is_no_version", theirs = "", bytes = "[^\r]*\r\n",
    why = "llhttp takes HTTP/0.9, whose answers have no head, and names a version that isn't there.",
  },
  {
    peer = "llhttp", ours = "^error:a_line_ends_with_LF", theirs = "^head", bytes = "[^.]\n",
    why = "Likewise, with an LF.",
  },
  {
    peer = "llhttp", ours = "^error:Connection_is_no_list_of_tokens", theirs = "^head",
    why = "llhttp looks for the tokens that it knows, and passes over what is none.",
  },
  {
    peer = "llhttp", role = "client", ours = "^error:the_answer's_reason_has_a_control", theirs = "",
    why = "llhttp takes controls in reasons.",
  },
  {
    peer = "llhttp", ours = "^error:the_target_has_a_character", theirs = "^head", bytes = "#",
    why = "llhttp takes a fragment in a target. RFC 9112 3.2: no target has one.",
  },
  {
    peer = "llhttp", ours = "^error:the_target_is_neither", theirs = "^head",
    why = "llhttp takes `*` and hosts from all methods, and any scheme.",
  },
  {
    peer = "llhttp", ours = "^error:the_path_has_an_escape", theirs = "^head",
    why = "llhttp decodes no path.",
  },
  {
    peer = "llhttp", ours = "^error:there_is_no_target", theirs = "^head", bytes = "%u  ",
    why = "llhttp takes several spaces before the target. RFC 9112 3: it is one.",
  },
  {
    peer = "llhttp", role = "server", ours = "^error:the_method_is_no_token", theirs = "", bytes = "\r\n\r\n",
    why = "llhttp takes any number of empty lines before a request; we take one.",
  },
  {
    peer = "llhttp", role = "server", ours = "^error:a_line_has_a_CR", theirs = "", bytes = "\r[^\n]",
    why = "llhttp takes CR and LF alone there, too.",
  },
  {
    peer = "llhttp", role = "client", ours = "^error:the_answer_doesn't_begin", theirs = "", bytes = "\r\n\r\n[\r\n]",
    why = "Likewise before an answer, where RFC 9112 has none.",
  },

  {
    peer = "llhttp", ours = "^error:a_chunk's_extensions", theirs = "",
    why = "llhttp takes extensions without a name, or with an empty value.",
  },
  {
    peer = "llhttp", ours = "^error:a_chunk_is_too_large", theirs = "",
    why = "llhttp counts to 2^64, we to 2^53.",
  },

  {
    peer = "llhttp", role = "client", ours = "^error:101_", theirs = "^head",
    why = "llhttp does not know what was asked for.",
  },
  {
    peer = "llhttp", role = "client", ours = "^error:Transfer%-Encoding", theirs = "^info",
    why = "llhttp passes over the framing of answers that have no body; we refuse it where it is invalid.",
  },
  {
    peer = "llhttp", role = "client", ours = "^error:the_answer's_status", theirs = "", bytes = "HTTP/1.%d *0*%d?%d ",
    why = "llhttp takes fewer digits, and zeros in front.",
  },
  {
    peer = "llhttp", role = "client", ours = "^error:the_answer_doesn't_begin", theirs = "", bytes = "HTTP/[02]",
    why = "llhttp takes HTTP/0.9 and HTTP/2.0 from answers.",
  },

  {
    peer = "llhttp", role = "server", ours = "^over", theirs = "^head", bytes = "[Cc]onnection: close",
    why = "llhttp lets the last of several Connection fields win; with us `close` does.",
  },
  {
    peer = "llhttp", role = "client", ours = "", theirs = "^part", bytes = "chunked%s+\r",
    why = "llhttp reads an answer with a tab behind `chunked` to the end: for it that is another coding.",
  },
  {
    peer = "llhttp", role = "server", ours = "^switch", theirs = "^body", bytes = "[Uu]pgrade\t",
    why = "llhttp does not see `upgrade` with a tab behind it; it is the same token (RFC 9110 5.6.3).",
  },
  {
    peer = "llhttp", role = "server", ours = "^error", theirs = "^part", bytes = "[Uu]pgrade",
    why = "llhttp reads no body of a request that asks for another protocol; it is read before that begins.",
  },

  -- What llhttp doesn't take
  {
    peer = "llhttp", role = "client", ours = "^head", theirs = "^error:HPE_CLOSED_CONNECTION",
    why = "`Connection: close` of an answer that isn't the final one ends nothing: the final one comes yet.",
  },
  {
    peer = "llhttp", ours = "", theirs = "^error:HPE_INVALID_TRANSFER_ENCODING", bytes = "chunked%s+\r",
    why = "A tab may stand behind a value as a space may (RFC 9110 5.6.3).",
  },
  {
    peer = "llhttp", role = "server", ours = "^head", theirs = "^error:HPE_INVALID_METHOD",
    why = "llhttp knows a list of methods; ours are tokens (RFC 9110 9.1), and whether one is served is the server's.",
  },
  {
    peer = "llhttp", role = "client", ours = "^head", theirs = "^error:HPE_UNEXPECTED_CONTENT_LENGTH",
    why = "In answers we take the same length twice, as h11 and RFC 9110 8.6 do; nothing can be understood otherwise.",
  },
  {
    peer = "llhttp", ours = "", theirs = "^error:HPE_INVALID_VERSION", bytes = "HTTP/1%.[2-9]",
    why = "HTTP/1.2 and above would be read as 1.1 (RFC 9110 2.5).",
  },
  {
    peer = "llhttp", ours = "^head", theirs = "^error:HPE_INVALID_CONTENT_LENGTH", bytes = "%d\t+\r",
    why = "A tab may stand behind a value as a space may (RFC 9110 5.6.3).",
  },
}
