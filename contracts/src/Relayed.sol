// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ERC2771Context} from "@openzeppelin/contracts/metatx/ERC2771Context.sol";
import {Context} from "@openzeppelin/contracts/utils/Context.sol";

/// A contract whose callers may be relayed: `_msgSender()` is the account that signed, whoever pays for the gas.
/// @dev The forwarder is fixed at deployment and is trusted to have checked the signature, the nonce and the deadline.
abstract contract Relayed is ERC2771Context {
    constructor(address forwarder) ERC2771Context(forwarder) {}
}

/// Relayed, with an owner.
abstract contract RelayedOwnable is Relayed, Ownable {
    function _msgSender() internal view virtual override(Context, ERC2771Context) returns (address) {
        return ERC2771Context._msgSender();
    }

    function _msgData() internal view virtual override(Context, ERC2771Context) returns (bytes calldata) {
        return ERC2771Context._msgData();
    }

    function _contextSuffixLength() internal view virtual override(Context, ERC2771Context) returns (uint256) {
        return ERC2771Context._contextSuffixLength();
    }
}
