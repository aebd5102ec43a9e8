-- identity.lua - a certificate for localhost that vouches for itself until the year 2100, and its key, which so is no
-- secret: for checks that need TLS and are not about certificates.
return {
  cert = [[
-----BEGIN CERTIFICATE-----
MIIBejCCASCgAwIBAgIUXFJCl+sStD2wBAlszYo8YkY3xBcwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTIwMDEwMTAwMDAwMFoYDzIxMDAwMTAx
MDAwMDAwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARpbjJ/uG6rHJmZoTQ6qd5MHPbNdb6/B6ailt3iHmg30BD2sbZoVvvS
poV60BNE/OWaXbK6Ugpm4uqqp9KZ8AL3o04wTDAPBgNVHRMBAf8EBTADAQH/MBoG
A1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAAATAdBgNVHQ4EFgQUSAKoszgrZ/vnlt33
MCeucZASobUwCgYIKoZIzj0EAwIDSAAwRQIgCpUKJX1/jO6u79sG/H1kkgAxnwUi
EXjirYcqjaFwi94CIQD95sgUvyf2vr/r3UIa+Lh+ituZz81Ld3e3SZ81EHMIvg==
-----END CERTIFICATE-----
]],
  key = [[
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgUKzkiqSYIvBFEppd
gCE6EewrXICOyojFbqGzTXk1JEOhRANCAARpbjJ/uG6rHJmZoTQ6qd5MHPbNdb6/
B6ailt3iHmg30BD2sbZoVvvSpoV60BNE/OWaXbK6Ugpm4uqqp9KZ8AL3
-----END PRIVATE KEY-----
]],
}
