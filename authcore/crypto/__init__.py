"""Keys and signatures: the key ring, its directory, the JWKS client, JWS and sealing."""
