{
  description = "Build a Nix closure on more than one machine: critical path first, over plain ssh, this machine included";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.11";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      forEach =
        make:
        lib.genAttrs [
          "x86_64-linux"
          "aarch64-linux"
          "x86_64-darwin"
          "aarch64-darwin"
        ] (system: make nixpkgs.legacyPackages.${system});
      cargo = lib.importTOML ./Cargo.toml;
    in
    {
      packages = forEach (pkgs: rec {
        drvdispatch = pkgs.rustPlatform.buildRustPackage {
          pname = "drvdispatch";
          inherit (cargo.package) version;
          src = lib.cleanSource ./.;
          cargoLock.lockFile = ./Cargo.lock;
          nativeBuildInputs = [
            pkgs.pkg-config
            pkgs.installShellFiles
          ];
          buildInputs = [ pkgs.openssl ];
          postInstall = lib.optionalString (pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform) ''
            for shell in bash fish zsh; do
              $out/bin/drvdispatch completions $shell > drvdispatch.$shell
            done
            installShellCompletion drvdispatch.{bash,fish,zsh}
            $out/bin/drvdispatch man > drvdispatch.1
            for command in build plan explain replay split tune hosts history completions; do
              $out/bin/drvdispatch man $command > drvdispatch-$command.1
            done
            $out/bin/drvdispatch man hosts check > drvdispatch-hosts-check.1
            installManPage drvdispatch*.1
          '';
          meta = {
            inherit (cargo.package) description;
            license = [
              lib.licenses.mit
              lib.licenses.asl20
            ];
            mainProgram = "drvdispatch";
          };
        };
        default = drvdispatch;
      });

      devShells = forEach (pkgs: {
        default = pkgs.mkShell {
          inputsFrom = [ self.packages.${pkgs.stdenv.hostPlatform.system}.drvdispatch ];
          packages = [
            pkgs.cargo-nextest
            pkgs.clippy
            pkgs.rust-analyzer
            pkgs.rustfmt
            pkgs.shellcheck
          ];
        };
      });
    };
}
